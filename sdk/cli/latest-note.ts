/** What `plugin publish` says of a version that flows do not get when they name none. */
import semver from 'semver';
import type { PublishedVersion } from '../registry/publish-bundle.ts';

/** Why flows that name no version do not get this one; undefined: they do, or nobody knows. */
export function latestNote(
  { pluginId, version, latest }: Pick<PublishedVersion, 'pluginId' | 'version' | 'latest'>,
  registry: string,
): string | undefined {
  if (latest === undefined || latest === version) return undefined;
  const stays = latest === null ? `${pluginId} has no latest` : `the latest stays ${latest}`;
  if (semver.prerelease(version) !== null) {
    return `${version} is a pre-release: only a step with pluginVersion: ${version} gets it; ${stays}`;
  }
  if (latest !== null && semver.gt(latest, version)) return stays;
  return `${version} was withdrawn, so ${stays}; to put it back: flowops plugin withdraw ${pluginId} ${version} --registry ${registry} --restore`;
}
