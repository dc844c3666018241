/*
 * PID 1 of a step container:  flowops-init LIFE_SECONDS PROGRAM [ARGUMENT...]
 *
 * It starts PROGRAM (the runner, which later holds a stranger's code) and ends the container when one of these happens:
 *
 *   1. the runner has ended: its exit code, or 128 + its signal, becomes the container's;
 *   2. LIFE_SECONDS are over (EXIT_LIFE_OVER), whatever the host does or does not do by then;
 *   3. the host has gone: nobody holds the other end of our stdin or stdout any more (EXIT_HOST_GONE);
 *   4. the runner takes nothing of what the host sends for DEAF_SECONDS_MAX (EXIT_DEAF). Whoever fills the way from the
 *      host to us would else hide the host's end: what is behind it may then wait to write and not tell.
 *
 * PROGRAM reads what the host sends from descriptor 3 and answers on descriptor 4. Its stdin is empty, and what it
 * prints goes to stderr: a print of the guest does not land between two frames.
 *
 * Ending is nothing but leaving: when PID 1 exits, the kernel kills every process of its pid namespace, daemons of
 * daemons included, and waits until they are gone.
 *
 * It must hold against code of the same uid that runs below it:
 *
 *   - It reads nothing that the guest writes, and the only thing it gives to the guest is the bytes of stdin.
 *   - It cannot be read or traced: it is not dumpable, and on runc its file is execute-only, so that /proc/1/mem,
 *     environ and fd are root's. (gVisor cannot start such a file. It denies tracing and memory by itself, and lets the
 *     guest open our stdin, which gives it nothing but its own input.)
 *   - It cannot be killed or stopped: the kernel drops SIGKILL and SIGSTOP that come from inside to PID 1, and it
 *     ignores every other signal. gVisor does deliver these two. SIGKILL ends the container, which is no gain for the
 *     guest; against SIGSTOP there is a timer that kills us when we stop putting it off.
 *   - It cannot be blinded: on Linux a pipe can be opened again, through /proc/self/fd, by whoever holds it, for writing
 *     too, and would then never hang up. So the guest does not have our stdin but a socket, which nobody can open
 *     again, and we pass the bytes on, one buffer at a time. A full way is no hiding place either (4).
 *
 * Exit codes are for people who read a log. The guest can exit with any of them, so that nothing is decided by them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  EXIT_DEAF = 122,
  EXIT_HOST_GONE = 123,
  EXIT_LIFE_OVER = 124,
  EXIT_USAGE = 125, /* our own failure: called wrongly, or the kernel refuses something we need */
  EXIT_CANNOT_RUN = 126,
  EXIT_NOT_FOUND = 127,
  EXIT_BY_SIGNAL = 128
};

/* Where the runner finds the host. */
enum { RUNNER_IN = 3, RUNNER_OUT = 4 };

/* A day: no step lives so long, and a mistyped number must not make a container immortal. */
#define LIFE_SECONDS_MAX 86400L

/* Far more than a starved machine keeps us waiting; a guest that stops us has this long. */
enum { STOPPED_SECONDS_MAX = 10, BEAT_MS = 2000 };

/* The runner's main thread does nothing but read and write; it is behind by that much only when it is held up. */
enum { DEAF_SECONDS_MAX = 10 };

enum { SIGNALS, LIFE, HOST_IN, HOST_OUT, GUEST, POLLED };

/* Bytes on their way from the host to the guest. A pipe's own size: nothing is gained by more. */
static char buffer[65536];
static size_t buffer_start, buffer_end;
static time_t given_at; /* when the guest last took some of them */

static time_t now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

static void fail(const char *what) {
  dprintf(STDERR_FILENO, "flowops-init: %s: %s\n", what, strerror(errno));
  _exit(EXIT_USAGE);
}

static long life_seconds_of(const char *text) {
  char *end = NULL;
  errno = 0;
  long seconds = strtol(text, &end, 10);
  return errno == 0 && end != text && *end == '\0' && seconds <= LIFE_SECONDS_MAX ? seconds : 0;
}

static void set_all_signals(void (*handler)(int)) {
  for (int number = 1; number < NSIG; number++) {
    if (number != SIGCHLD) signal(number, handler); /* refused for SIGKILL, SIGSTOP and libc's own: no matter */
  }
}

/* Ignoring, unlike blocking, leaves nothing that the guest could queue up. SIGCHLD alone is taken, as a descriptor. */
static int open_signals(void) {
  set_all_signals(SIG_IGN);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &child, NULL) != 0) fail("sigprocmask");
  int fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) fail("signalfd");
  return fd;
}

/* Counts the time that the machine sleeps, where the kernel has such a clock: the host's deadline does too. */
static int open_life(long seconds) {
  int fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  if (fd < 0) fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  const struct itimerspec life = {.it_value = {.tv_sec = seconds}};
  if (fd < 0 || timerfd_settime(fd, 0, &life, NULL) != 0) fail("timerfd");
  return fd;
}

/* On Linux the kernel drops this signal, as any SIGKILL to a PID 1 from inside; there nobody can stop us either. */
static timer_t open_beat(void) {
  timer_t beat;
  struct sigevent kill_us = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
  if (timer_create(CLOCK_MONOTONIC, &kill_us, &beat) != 0) fail("timer_create");
  return beat;
}

static void put_off(timer_t beat) {
  const struct itimerspec next = {.it_value = {.tv_sec = STOPPED_SECONDS_MAX}};
  if (timer_settime(beat, 0, &next, NULL) != 0) fail("timer_settime");
}

/* False with errno. The new descriptors outlive exec; every other of ours does not. */
static bool arrange_descriptors(int guest_end) {
  int empty = open("/dev/null", O_RDONLY | O_CLOEXEC);
  return empty >= 0 && dup2(guest_end, RUNNER_IN) >= 0 && dup2(STDOUT_FILENO, RUNNER_OUT) >= 0 &&
         dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && dup2(empty, STDIN_FILENO) >= 0;
}

/* Starts the runner in a session of its own, with every signal as it was. */
static pid_t start(char **program, int guest_end) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  set_all_signals(SIG_DFL);
  setsid();
  if (sigprocmask(SIG_SETMASK, &none, NULL) == 0 && arrange_descriptors(guest_end)) execv(program[0], program);
  int code = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
  dprintf(STDERR_FILENO, "flowops-init: cannot start %s: %s\n", program[0], strerror(errno));
  _exit(code);
}

/* Reaps whatever has ended; leaves, and with that ends the container, when the runner is among it. */
static void reap(int signals, pid_t runner) {
  struct signalfd_siginfo taken;
  while (read(signals, &taken, sizeof taken) > 0) continue;
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == runner) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BY_SIGNAL + WTERMSIG(status));
  }
}

/* The end of stdin means that the host has gone: it keeps its end open for as long as it wants the step. */
static void take_from_host(void) {
  ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
  if (count > 0) {
    buffer_start = 0;
    buffer_end = (size_t)count;
    given_at = now_seconds();
  } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
    _exit(EXIT_HOST_GONE);
  }
}

/* False when the guest has closed its end: what comes for it from then on is thrown away. */
static bool give_to_guest(int guest) {
  ssize_t count = send(guest, buffer + buffer_start, buffer_end - buffer_start, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  buffer_start += (size_t)count;
  given_at = now_seconds();
  return true;
}

static void serve(struct pollfd *polled, pid_t runner) {
  timer_t beat = open_beat();
  for (;;) {
    put_off(beat);
    if (polled[GUEST].fd < 0) buffer_start = buffer_end;
    bool is_empty = buffer_start == buffer_end;
    polled[HOST_IN].events = is_empty ? POLLIN : 0;
    polled[GUEST].events = is_empty ? 0 : POLLOUT;
    if (poll(polled, POLLED, BEAT_MS) < 0) {
      if (errno == EINTR) continue;
      fail("poll");
    }
    /* In this order: a runner that ended by itself is told as that, also when its time is over or its host has gone. */
    if (polled[SIGNALS].revents != 0) reap(polled[SIGNALS].fd, runner);
    if (polled[LIFE].revents != 0) _exit(EXIT_LIFE_OVER);
    if (((polled[HOST_IN].revents | polled[HOST_OUT].revents) & (POLLHUP | POLLERR | POLLNVAL)) != 0)
      _exit(EXIT_HOST_GONE);
    if (!is_empty && now_seconds() - given_at > DEAF_SECONDS_MAX) _exit(EXIT_DEAF);
    if ((polled[HOST_IN].revents & POLLIN) != 0) take_from_host();
    short guest = polled[GUEST].revents;
    if ((guest & (POLLHUP | POLLERR)) != 0 || ((guest & POLLOUT) != 0 && !give_to_guest(polled[GUEST].fd))) {
      close(polled[GUEST].fd);
      polled[GUEST].fd = -1; /* poll passes over it */
    }
  }
}

int main(int argc, char **argv) {
  long life_seconds = argc < 3 ? 0 : life_seconds_of(argv[1]);
  if (life_seconds <= 0) {
    dprintf(STDERR_FILENO, "usage: flowops-init LIFE_SECONDS PROGRAM [ARGUMENT...], 1 to %ld seconds\n",
            LIFE_SECONDS_MAX);
    return EXIT_USAGE;
  }
  if (prctl(PR_SET_DUMPABLE, 0) != 0) fail("prctl");
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
  struct pollfd polled[POLLED] = {
      [SIGNALS] = {.fd = open_signals(), .events = POLLIN},
      [LIFE] = {.fd = open_life(life_seconds), .events = POLLIN},
      [HOST_IN] = {.fd = STDIN_FILENO},
      [HOST_OUT] = {.fd = STDOUT_FILENO}, /* errors are reported unasked */
      [GUEST] = {.fd = ends[0]},
  };
  pid_t runner = start(argv + 2, ends[1]);
  if (runner < 0) fail("fork");
  close(ends[1]);
  serve(polled, runner);
}
