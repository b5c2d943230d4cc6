"""Time, memory and who else was busy: what every measurement shares."""

import os
import statistics
import time


def _read(path):
    with open(path) as f:
        return f.read()


def process_age():
    """Seconds since this process was exec'd (so interpreter start-up counts)."""
    start_ticks = int(_read("/proc/self/stat").rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


def hwm_mb():
    return (
        next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1024
    )


class Meter:
    """Times repeats and notes how many cores *other* processes used during each (shared machine)."""

    def __init__(self, a, per):
        self.ms, self.other, self.want, self.cap, self.per = [], [], a.repeats, a.cap_s, per
        self.born = time.perf_counter()
        self.mark()

    @staticmethod
    def _now():
        f = [int(v) for v in _read("/proc/stat").partition("\n")[0].split()[1:9]]
        busy = (f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) / os.sysconf("SC_CLK_TCK")
        return busy - time.process_time(), time.perf_counter()

    def mark(self):
        self.b0, self.t0 = self._now()

    def lap(self):
        """Close one repeat, start the next; True when enough clean repeats (or too much time) are in."""
        b, t = self._now()
        self.ms.append((t - self.t0) / self.per * 1e3)
        self.other.append(round(max(0.0, (b - self.b0) / (t - self.t0)), 2))
        self.b0, self.t0 = b, t
        return len(self.clean()) >= self.want or (t - self.born > self.cap and len(self.ms) >= 3)

    def clean(self):
        return [m for m, o in zip(self.ms, self.other) if o <= 0.1]

    def put(self, r, key):
        c = self.clean()
        r["clean"], r["noisy"], r["other"] = len(c), len(c) < 3, self.other
        quiet = [m for o, m in sorted(zip(self.other, self.ms))][: self.want]
        r[key] = statistics.median(c if len(c) >= 3 else quiet)
        r["all_ms"] = [round(v, 4) for v in self.ms]


def pick_steps(a, n_max, s_per_step):
    return a.steps or int(max(4, min(n_max, a.epoch_s / s_per_step)))


def rss_mb():
    """Resident memory now."""
    return int(_read("/proc/self/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
