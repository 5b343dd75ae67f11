"""Shows the results: plots, tables in the docs, and the few figures in the README.

Texts are written by hand; what stands between `<!-- bench … -->` and `<!-- /bench -->` in them is filled here.
`python -m bench.report` does it again from the latest results.
"""

import re
from collections.abc import Callable

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.results import TIMES, Results, Row
from bench.servers import FLOOR, PER_REQUEST, SERVICE, SQLALCHEMY
from local import ROOT

DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
# Each picture, and the groups of rows that it shows below one another.
PICTURES = {
    "one-approval": ["One approval, 3 kB", "One approval, 16 kB", "One approval, 170 kB"],
    "stages": ["Stages of one approval, 16 kB"],
    "many-clients": [
        "16 clients",
        "64 clients",
        "64 clients, 50 ms to Supabase",
        "64 clients, 300 ms to Supabase",
    ],
    "plans": ["1,000,000 plans", "1,000,000 plans, sent by the client"],
    "builds": ["Builds in the database"],
}
FILLED = [DOCS / "benchmarks.md", DOCS / "scale.md", ROOT / "README.md"]
BLOCK = re.compile(r"(<!-- bench ?(.*?) -->\n).*?(<!-- /bench -->)", re.DOTALL)
MOST_ALIKE = 2
AGAIN = "\N{HORIZONTAL ELLIPSIS} "  # the same group as the line above
AGAINST = ", against "
# Of what a million plans change, these stand in docs/scale.md.
SCALE = ("approve", "claim", "propose", "the page of plans", "the page of agents", "the page of an agent")
DIFFERENCE = re.compile(r"\b(beyond|growth)\b")
COLORS = {SERVICE: "#1a7f37", FLOOR: "#8c959f", SQLALCHEMY: "#0969da", PER_REQUEST: "#bc4c00"}


def write(results: Results) -> None:
    mpl.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9})
    IMAGES.mkdir(exist_ok=True)
    for outdated in IMAGES.glob("bench-*.svg"):
        outdated.unlink()
    groups = results.groups()
    for name, shown in PICTURES.items():
        plot(name, {group: plotted(groups[group]) for group in shown if group in groups})
    for path in FILLED:
        if path.exists():
            path.write_text(fill(path.read_text(), results))


def fill(text: str, results: Results) -> str:
    """Return the text with each marked block as the results have it: `<!-- bench name -->`, `<!-- /bench -->`."""

    def block(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        write_block = BLOCKS.get(name)
        if write_block is None:
            raise ValueError(f"there is no block named {name!r}; there are {', '.join(BLOCKS)}")
        return f"{start}{write_block(results)}\n{end}"

    return BLOCK.sub(block, text)


def machine(results: Results) -> str:
    of = results.machine
    return (
        f"{of['cpu']}, {of['cores']} cores, {of['memory_gib']} GiB, {of['system']}; Python {of['python']},"
        f" Node.js {of['node']}, Postgres {of['postgres']}; {of['date']}, {of['run']} run. Everything runs on this one"
        f" machine: the callers, the compared, and Supabase ({of['supabase']})."
    )


def goals(results: Results) -> str:
    """Return the rows with a goal, by group. Of several with the same goal that are met, one line has the worst."""
    lines = ["| | measured | rounds | goal | |", "|---|---|---|---|---|"]
    for group, rows in results.groups().items():
        shown = f"{group}: "
        for goal_, alike in by_goal(rows).items():
            met = [row for row in alike if row.met]
            for row in alike:
                name = row.measure
                if row.met and len(met) > MOST_ALIKE:
                    if row is not met[0]:
                        continue
                    row = max(met, key=lambda of: of.value if "<" in goal_ else -of.value)  # noqa: PLW2901
                    name = f"the worst of {len(met)}, {row.measure}"
                lines.append(line(shown + name, row))
                shown = AGAIN
    return "\n".join(lines)


def by_goal(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.goal is not None:
            found.setdefault(row.goal, []).append(row)
    return found


def line(name: str, row: Row) -> str:
    met = "met" if row.met else "**not met**"
    return f"| {name} | {figure(row.value, row.unit)} | {spread(row)} | {goal(row)} | {met} |"


def summary(results: Results) -> str:
    """Return the few lines for the README."""
    value = results.value
    beyond = value(f"One approval, 16 kB: {SERVICE} beyond {FLOOR}")
    against = value(f"One approval, 16 kB: {SERVICE} against {FLOOR}")
    memory = next(row for row in results.groups()["Memory"] if row.unit == "MiB")
    return f"""\
- One approval takes {against:.2f} times as long as its three calls to Supabase alone ({beyond:+.1f} ms).
- It costs {value(f"CPU of one approval, 16 kB: {SERVICE}"):.1f} ms of the service's CPU.
- The service has {memory.value:.0f} MiB {memory.measure.removeprefix("the service ")}."""


def scale(results: Results) -> str:
    """Return the figures that docs/scale.md uses."""
    value = results.value
    plans = next(group for group in results.groups() if group.endswith(" plans"))
    cpu = value(f"CPU of one approval, 16 kB: {SERVICE}")
    rate = value("In the database: approve_plan() as a user")
    size = next(row.value for row in results.groups()[plans] if row.unit == "bytes")
    memory = next(row.value for row in results.groups()["Memory"] if row.unit == "MiB")
    lines = [
        ("Service CPU of one approval", f"{cpu:.1f} ms", f"about {1000 / cpu:.0f} approvals/s for each core"),
        ("Service memory", f"{memory:.0f} MiB", f"{1024 / memory:.0f} processes for each GiB"),
        (
            "`approve_plan()` on one connection",
            f"{rate:,.0f}/s",
            f"{1000 / rate:.2f} ms of one core; {rate * 86_400 / 1e6:.0f} million a day",
        ),
        (
            "One plan with agent, events, indexes",
            f"{size / 1000:.1f} kB",
            f"{size / 1000:.1f} GB in Postgres for a million plans, beside the documents in storage",
        ),
        *(
            (
                f"{row.measure.split(AGAINST)[0].capitalize()}, {plans} against 1,000",
                figure(row.value, TIMES),
                "found by index, however many there are",
            )
            for row in [*results.groups()[plans], *results.groups().get(f"{plans}, sent by the client", [])]
            if row.unit == TIMES and row.measure.split(AGAINST)[0] in SCALE
        ),
    ]
    return "\n".join(
        ["| measured | | what follows |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in lines)]
    )


BLOCKS: dict[str, Callable[[Results], str]] = {
    "": summary,
    "machine": machine,
    "goals": goals,
    "scale": scale,
}


def plotted(rows: list[Row]) -> list[Row]:
    """Return what is drawn of a group: the measures of its first unit; a ratio has another."""
    return [row for row in rows if row.unit == rows[0].unit and not DIFFERENCE.search(row.measure)]


def plot(name: str, groups: dict[str, list[Row]]) -> None:
    sizes = [len(rows) for rows in groups.values()]
    figure_, panels = plt.subplots(
        len(groups),
        squeeze=False,
        sharex=True,
        figsize=(7, 0.5 + sum(0.32 + 0.3 * size for size in sizes)),
        height_ratios=sizes,
        layout="constrained",
    )
    for axes, (group, rows) in zip(panels[:, 0], groups.items(), strict=True):
        drawn = rows[::-1]
        axes.barh(
            [row.measure for row in drawn],
            [row.value for row in drawn],
            xerr=[[row.value - row.low for row in drawn], [row.high - row.value for row in drawn]],
            color=[
                next(
                    (color for peer, color in COLORS.items() if row.measure.startswith(peer)), COLORS[SERVICE]
                )
                for row in drawn
            ],
            error_kw={"ecolor": "#57606a", "elinewidth": 1, "capsize": 2},
        )
        axes.set_title(group, loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(drawn[0].unit if axes is panels[-1, 0] else "")
    figure_.savefig(IMAGES / f"bench-{name}.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure_)


def figure(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def spread(row: Row) -> str:
    return f"{figure(row.low, '')}\N{EN DASH}{figure(row.high, '')}" if row.low != row.high else ""


def goal(row: Row) -> str:
    sign, limit = (row.goal or "").split()
    words = {"<=": "at most", "<": "below", ">=": "at least", ">": "above"}[sign]
    return f"{words} {figure(float(limit), row.unit)}"


if __name__ == "__main__":
    write(Results.load())
