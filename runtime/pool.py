"""The pool: the threads that the kernels of native programs share, one small library in C per process.

A kernel is `units` pieces of work that do not depend on each other. The caller cuts them into chunks, claims chunks from the
front and works; workers claim from the back, so that each core meets the same data kernel after kernel. Nobody
waits for a thread that has claimed nothing, a worker without work spins for some microseconds and then sleeps, and a caller that finds the
pool taken does all by itself. Refuses to know kernels, and to decide how many threads there are (`runtime.threads`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from typing import Any

from runtime import native, threads
from runtime.native import NativeError

POOL = r"""#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__)
#include <xmmintrin.h>
#define FLUSH 0x8040  // denormals are zero, read or made (see runtime.denormals)
static unsigned long mode(void) { return _mm_getcsr(); }
static void set_mode(unsigned long m) { _mm_setcsr((unsigned)m); }
#elif defined(__aarch64__)
#define FLUSH (1ul << 24)
static unsigned long mode(void) { unsigned long m; __asm__ volatile("mrs %0, fpcr" : "=r"(m)); return m; }
static void set_mode(unsigned long m) { __asm__ volatile("msr fpcr, %0" : : "r"(m)); }
#else
#define FLUSH 0
static unsigned long mode(void) { return 0; }
static void set_mode(unsigned long m) { (void)m; }
#endif

#define SPIN 30000   // nanoseconds that a worker spins for the next kernel
#define LONG 100000  // and while others are still at one, and a caller for the last chunk
#define DOUBT 400000 // nanoseconds of work below which sharing may not pay
#define TRIALS 7     // steps of each kind in a trial
#define AGAIN 1000   // steps from one trial to the next
#define NEAR 500000  // bytes of a batch that are rather gathered where the step begins
#define CHUNK 4000   // nanoseconds of work that are worth a claim
#define WAKE 20000   // nanoseconds of work that are worth waking a sleeper
#define MOST 16      // chunks for each thread: what one is late by, the others take over

typedef void (*part)(void *const *args, long lo, long hi);
static struct { part run; void *const *args; long units, grain; unsigned long mode; } job;  // mode: the caller's arithmetic
static atomic_int place = -1;  // the core the caller was on
// generation << 32 | first chunk left << 16 | end of the chunks left: a claim changes one of the two, if nobody else has
static _Atomic unsigned long long left;
static atomic_int done, waiting, bell, asleep, limit = 1;
static atomic_int taken;  // 1: somebody works; 2: and shares it
static int made;

static long long now(void) {
  struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ll + t.tv_nsec;
}
static inline void rest(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
#ifdef __linux__
static int core(void) { return sched_getcpu(); }
static void leave(int taken) {  // schedulers like to put who is woken beside who wakes: off that core, then
  static __thread cpu_set_t mine;
  static __thread int known;
  if (!known) known = sched_getaffinity(0, sizeof mine, &mine) ? -1 : CPU_COUNT(&mine);
  cpu_set_t others = mine;
  if (known < 2 || !CPU_ISSET(taken, &mine)) return;
  CPU_CLR(taken, &others);
  sched_setaffinity(0, sizeof others, &others);
}
static void nap(atomic_int *word, int seen) { syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, 0, 0, 0); }
static void ring(atomic_int *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0); }
#else
static int core(void) { return -1; }
static void leave(int taken) { (void)taken; }
static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sound = PTHREAD_COND_INITIALIZER;
static void nap(atomic_int *word, int seen) {
  pthread_mutex_lock(&door);
  while (atomic_load(word) == seen) pthread_cond_wait(&sound, &door);
  pthread_mutex_unlock(&door);
}
static void ring(atomic_int *word) { pthread_mutex_lock(&door); pthread_cond_broadcast(&sound); pthread_mutex_unlock(&door); }
#endif

static int some(void) { unsigned long long e = atomic_load(&left); return (e >> 16 & 0xFFFF) < (e & 0xFFFF); }
static int chunk(int back) {  // claims a chunk and runs it; 0 when there is none
  unsigned long long e = atomic_load(&left);
  long k;
  do {
    long first = e >> 16 & 0xFFFF, end = e & 0xFFFF;
    if (first >= end) return 0;
    k = back ? end - 1 : first;
  } while (!atomic_compare_exchange_weak(&left, &e, back ? e - 1 : e + 0x10000));
  long lo = k * job.grain, hi = lo + job.grain;
  if (back && mode() != job.mode) set_mode(job.mode);
  job.run(job.args, lo, hi < job.units ? hi : job.units);
  return 1;
}
static void *worker(void *me) {
  for (;;) {
    long long until = now() + SPIN, last = until + LONG;
    int seen, mine = (long)me < atomic_load(&limit) - 1;
    do {
      int worked = 0, there = atomic_load(&place);
      if (mine && there >= 0 && there == core() && some()) leave(there);
      for (int k = 0; k < 16; k++) {
        while (mine && chunk(1)) {
          atomic_fetch_add(&done, 1);
          if (atomic_load(&waiting)) ring(&done);
          worked = 1;
        }
        rest();
      }
      // who slept while others finish would have to be woken for every kernel: it would come late, end early, sleep again
      if (worked) last = now() + LONG;
      if (worked || (mine && atomic_load(&taken) == 2)) until = now() + SPIN;
    } while (now() < (until < last ? until : last));
    seen = atomic_load(&bell);
    atomic_fetch_add(&asleep, 1);
    if (!mine || !some()) nap(&bell, seen);
    atomic_fetch_sub(&asleep, 1);
  }
  return 0;
}
static void in_child(void) {  // a forked process has none of the threads
  made = 0; atomic_store(&left, 0); atomic_store(&asleep, 0); atomic_store(&waiting, 0); atomic_store(&taken, 0);
}
static void hire(int wanted) {
  static int known;
  sigset_t all, before;
  pthread_t thread;
  if (!known) known = !pthread_atfork(0, 0, in_child);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (made < wanted && !pthread_create(&thread, 0, worker, (void *)(long)made)) { pthread_detach(thread); made++; }
  pthread_sigmask(SIG_SETMASK, &before, 0);
}

void pool_threads(int n) { atomic_store(&limit, n); }

// Cores may be far apart, or have other work: whether small kernels gain by being shared is found out now and then, from one call
// of one of them, the anchor, to its next: that is the time of a step, with all that sharing one kernel costs the others.
static long middle(const long *x) {
  for (int k = 0; k < TRIALS; k++) {
    int less = 0;
    for (int j = 0; j < TRIALS; j++) less += x[j] < x[k] || (x[j] == x[k] && j < k);
    if (less == TRIALS / 2) return x[k];
  }
  return x[0];
}

static int alone(part run, long units) {  // whether a small kernel is not to be shared
  static part anchor;
  static long its_units, foreign, took[2][TRIALS];
  static long long last;
  static int calls, decided;
  if (run == anchor && units == its_units) {
    long long here = now();
    if (calls > 0 && calls <= 2 * TRIALS) took[calls > TRIALS][(calls - 1) % TRIALS] = here - last;
    if (calls == 2 * TRIALS) decided = middle(took[1]) < middle(took[0]);
    calls = calls < AGAIN ? calls + 1 : 0;
    last = here; foreign = 0;
  } else if (!anchor || ++foreign > AGAIN) { anchor = run; its_units = units; calls = foreign = decided = 0; }
  return calls <= TRIALS ? 0 : calls <= 2 * TRIALS ? 1 : decided;
}

static void shared(part run, void *const *args, long units, long chunks, long cost) {
  job.run = run; job.args = args; job.units = units; job.grain = (units + chunks - 1) / chunks; job.mode = mode();
  chunks = (units + job.grain - 1) / job.grain;
  atomic_store(&taken, 2);
  atomic_store(&place, core());
  atomic_store(&done, 0);
  atomic_store(&left, ((atomic_load(&left) >> 32) + 1) << 32 | (unsigned long long)chunks);
  if (cost >= WAKE && atomic_load(&asleep)) { atomic_fetch_add(&bell, 1); ring(&bell); }
  long others = chunks;
  while (chunk(0)) others--;
  if (atomic_load(&done) != others) {
    for (long long until = now() + LONG; atomic_load(&done) != others && now() < until;)
      for (int k = 0; k < 16; k++) rest();
    for (int seen; (seen = atomic_load(&done)) != others;) {
      atomic_store(&waiting, 1);
      if (atomic_load(&done) == seen) nap(&done, seen);
      atomic_store(&waiting, 0);
    }
  }
}
// all units of a kernel that takes about `cost` nanoseconds on one core
void pool_run(part run, void *const *args, long units, long cost) {
  long most = atomic_load(&limit), chunks = cost / CHUNK;
  if (chunks > MOST * most) chunks = MOST * most;
  if (chunks > units) chunks = units;
  if (chunks > 0xFFFF) chunks = 0xFFFF;
  if (most < 2 || chunks < 2 || atomic_exchange(&taken, 1)) { run(args, 0, units); return; }
  if (made < most - 1) hire(most - 1);
  if (cost < DOUBT && alone(run, units)) run(args, 0, units); else shared(run, args, units, chunks, cost);
  atomic_store(&taken, 0);
}

// samples of `row` bytes each, from `at` on; `slot`: the buffer of the step for them; move: whether that may lie among them
typedef struct { char *at; long slot, row, move; } stream;
typedef struct { const stream *feed; const long long *order; char *to; } batch;
static void gather(void *const *args, long lo, long hi) {
  const batch *b = args[0];
  for (long k = lo; k < hi; k++) memcpy(b->to + k * b->feed->row, b->feed->at + b->order[k] * b->feed->row, b->feed->row);
}
// a step for each of the batches first .. stop - 1 of `rows` samples; b: the buffers of the step
void pool_drive(void (*step)(char **), char **b, long first, long stop, long rows, const stream *feeds, long n_feeds,
                const stream *into, long n_into, const long long *order) {
  char *own[64];
  unsigned long before = mode();
  set_mode(before | FLUSH);
  for (long k = 0; k < n_feeds; k++) own[k] = b[feeds[k].slot];
  for (long k = 0; k < n_into; k++) own[n_feeds + k] = b[into[k].slot];
  for (long i = first; i < stop; i++) {
    for (long k = 0; k < n_feeds; k++) {
      const stream *s = feeds + k;
      if (order) {
        batch one = {s, order + i * rows, own[k]};
        void *args[] = {&one};
        if (rows * s->row < NEAR) gather(args, 0, rows); else pool_run(gather, args, rows, rows * s->row / 10);
      } else b[s->slot] = s->at + i * rows * s->row;
    }
    for (long k = 0; k < n_into; k++) if (into[k].move) b[into[k].slot] = into[k].at + i * rows * into[k].row;
    step(b);
    for (long k = 0; k < n_into; k++)
      if (!into[k].move) memcpy(into[k].at + i * rows * into[k].row, own[n_feeds + k], rows * into[k].row);
  }
  set_mode(before);
  for (long k = 0; k < n_feeds; k++) b[feeds[k].slot] = own[k];
  for (long k = 0; k < n_into; k++) b[into[k].slot] = own[n_feeds + k];
}
"""

MOST = 64  # streams of one drive


def begin() -> None:
    """Compile and load the pool in a thread, while the caller makes the program that will need it."""
    if not _beginning:
        _beginning.append(threading.Thread(target=_begin, name="kcompile-pool"))
        _beginning[0].start()


_beginning: list[threading.Thread] = []


def _begin() -> None:
    with contextlib.suppress(NativeError):  # `library` will say it
        native.library(POOL)


@functools.cache
def library() -> Any:
    """The loaded pool. Raises NativeError."""
    for thread in _beginning:
        thread.join()
    found = native.library(POOL)
    found.pool_threads.argtypes, found.pool_threads.restype = [ctypes.c_int], None
    drive, p, n = found.pool_drive, ctypes.c_void_p, ctypes.c_long
    drive.argtypes, drive.restype = [p, p, n, n, n, p, n, p, n, p], None
    return found


def limit(n: int) -> None:
    """Let kernels run on at most `n` threads, the caller's among them, from their next call on."""
    library().pool_threads(n)


def connect(program: Any) -> None:
    """Give a loaded program the pool: its pointer `pool`, where it has one."""
    pool = library()
    limit(threads.count())
    ctypes.c_void_p.in_dll(program, "pool").value = ctypes.cast(
        pool.pool_run, ctypes.c_void_p
    ).value
