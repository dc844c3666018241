import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommitGroup } from '../../../../engine/store/commit-group.ts';

describe('a group commit', () => {
  let database: DatabaseSync;
  let statements: string[];
  let group: CommitGroup;

  beforeEach(() => {
    database = new DatabaseSync(':memory:');
    database.exec('CREATE TABLE t (v INTEGER UNIQUE) STRICT');
    statements = [];
    group = new CommitGroup({
      exec: (sql) => {
        statements.push(sql);
        database.exec(sql);
      },
      get isTransaction() {
        return database.isTransaction;
      },
    });
  });
  afterEach(() => database.close());

  const insert = (value: number) => () => {
    database.prepare('INSERT INTO t VALUES (?)').run(value);
    return value;
  };
  const stored = () =>
    database
      .prepare('SELECT v FROM t ORDER BY v')
      .all()
      .map(({ v }) => v);
  const count = (sql: string) => statements.filter((statement) => statement === sql).length;

  it('puts the writes of one turn into one transaction and gives each its own result', async () => {
    expect(await Promise.all([1, 2, 3].map((value) => group.add(insert(value))))).toEqual([1, 2, 3]);
    expect(count('COMMIT')).toBe(1);
  });

  it('lets a member that fails undo itself and no neighbour', async () => {
    const results = await Promise.allSettled([
      group.add(insert(1)),
      group.add(() => {
        insert(2)();
        throw new Error('member failed');
      }),
      group.add(insert(1)),
      group.add(insert(3)),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    expect(stored()).toEqual([1, 3]);
  });

  it('that cannot be committed fails every member and leaves nothing', async () => {
    const failing = new CommitGroup({
      exec: (sql) => {
        if (sql === 'COMMIT') throw new Error('disk is full');
        database.exec(sql);
      },
      get isTransaction() {
        return database.isTransaction;
      },
    });
    const results = await Promise.allSettled([failing.add(insert(1)), failing.add(insert(2))]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(stored()).toEqual([]);
    expect(await group.add(insert(4))).toBe(4);
  });

  it('that lost its transaction in the middle fails every member', async () => {
    const results = await Promise.allSettled([
      group.add(insert(1)),
      group.add(() => {
        database.exec('ROLLBACK');
        throw new Error('disk is full');
      }),
      group.add(insert(3)),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(stored()).toEqual([]);
  });

  it('of very many writes takes several turns', async () => {
    const values = Array.from({ length: 1_200 }, (_, index) => index);
    await Promise.all(values.map((value) => group.add(insert(value))));
    expect(count('COMMIT')).toBe(3);
    expect(stored()).toHaveLength(1_200);
  });

  it('waits while another process writes, and is written then', async () => {
    let busy = 3;
    const waiting = new CommitGroup({
      exec: (sql) => {
        if (sql === 'BEGIN IMMEDIATE' && busy-- > 0)
          throw Object.assign(new Error('database is locked'), { errcode: 5 });
        database.exec(sql);
      },
      get isTransaction() {
        return database.isTransaction;
      },
    });
    expect(await Promise.all([waiting.add(insert(1)), waiting.add(insert(2))])).toEqual([1, 2]);
    expect(stored()).toEqual([1, 2]);
  });

  it('fails when the database cannot be written for another reason', async () => {
    const broken = new CommitGroup({
      exec: () => {
        throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
      },
      isTransaction: false,
    });
    await expect(broken.add(insert(1))).rejects.toThrow('disk I/O error');
    expect(stored()).toEqual([]);
  });

  it('is written at once on demand', async () => {
    const adding = group.add(insert(1));
    group.flush();
    expect(stored()).toEqual([1]);
    await adding;
  });
});
