"""What is read from the processes of `gpu.py`: figures of a cell, tables in Markdown, rows of the table of tuned schedules.

Refuses to run anything.
"""

import statistics

CELL = ("backend", "model", "batch", "precision")


def summary(runs):
    """A cell's figures from its processes; of those marked cold every cache was empty."""
    good = [r for r in runs if "error" not in r]
    if not good:
        return {"error": runs[0]["error"] if runs else "not run"}
    out = {
        "ms_step": statistics.median(r["ms_step"] for r in good),
        "peak_mb": max(r["peak_mb"] for r in good),
    }
    for name, cold in (("first_step_s", True), ("warm_start_s", False)):
        found = [r["first_step_s"] for r in good if r["cold"] is cold]
        out |= {name: statistics.median(found)} if found else {}
    return out


def table(cells, backends, what, unit):
    """A row for each model, and how many times slower the best peer is than kcompile."""
    lines = [f"| {unit} | {' | '.join(backends)} | best peer / kcompile |"]
    lines.append("|---" * (len(backends) + 2) + "|")
    rows = dict.fromkeys((m, n, p) for _, m, n, p in cells)
    for row in rows:
        values = {b: cells[b, *row].get(what) for b in backends if (b, *row) in cells}
        peers = [v for b, v in values.items() if b != "kcompile" and v]
        mine = values.get("kcompile")
        ratio = f"{min(peers) / mine:.2f}" if mine and peers else "-"
        shown = ["-" if values.get(b) is None else f"{values[b]:.4g}" for b in backends]
        lines.append(f"| {' '.join(map(str, row))} | {' | '.join(shown)} | {ratio} |")
    return "\n".join(lines)


def errors(runs):
    """The processes that gave no figures, a line each."""
    return "\n".join(
        f"- {' '.join(map(str, cell))}: {r['error']}"
        for cell, found in runs.items()
        for r in found
        if "error" in r
    )


def _measured(runs):
    """The kernels of the last process of each cell of kcompile that gave them."""
    return {
        cell: r["kernels"] for cell, found in runs.items() for r in found if "kernels" in r
    }  # the last wins


def overview(runs):
    """kcompile's steps in `fit` beside the sum of their kernels, each alone, and the sum of their least times."""
    lines = ["| us a step | in fit | its kernels | least | launches |", "|---|---|---|---|---|"]
    for cell, found in _measured(runs).items():
        step = summary(runs[cell])["ms_step"] * 1e3
        each, least = (sum(k[n] for k in found) for n in ("us", "floor_us"))
        count = sum(k["launches"] for k in found)
        lines.append(
            f"| {' '.join(map(str, cell[1:]))} | {step:.2f} | {each:.2f} | {least:.2f} | {count} |"
        )
    return "\n".join(lines)


def kernels(runs, most=12):
    """The kernels of kcompile's steps that are furthest from their least times."""
    lines = ["| model | kernel | kind | us | least us | ops |", "|---|---|---|---|---|---|"]
    for cell, found in _measured(runs).items():
        for k in sorted(found, key=lambda k: k["floor_us"] - k["us"])[:most]:
            lines.append(
                f"| {cell[1]} {cell[3]} | {k['name']} | {k['kind']} | {k['us']:.2f} | {k['floor_us']:.2f} | {k['ops'][:80]} |"
            )
    return "\n".join(lines)


def with_choices(table, runs):
    """The table of tuned schedules with what these processes of kcompile chose, in a fixed order."""
    for r in runs:
        table.setdefault(r["kind"], {}).update(r["choices"])
    return {kind: dict(sorted(table[kind].items())) for kind in sorted(table) if table[kind]}
