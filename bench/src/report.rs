//! Tables of a run, in English and Korean, as Markdown.
use std::fmt::Write;

use crate::{
    stats::{Cells, Measure},
    target::{self, Bound, PEER_WORKLOADS, Verdict, verdicts},
    workload::Workload,
};

/// What was left out, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Whose cells are missing.
    pub server: String,
    /// Which; all if none is named.
    pub workload: Option<Workload>,
    /// Why.
    pub why: String,
}

/// A run, as far as tables tell of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// The machine: its kernel and its number of cores.
    pub machine: Machine,
    /// Seconds of one window.
    pub seconds: f64,
    /// What was measured.
    pub cells: Cells,
    /// What was left out.
    pub skips: Vec<Skip>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's version: its first two numbers.
    pub linux: String,
    /// Cores.
    pub cores: usize,
}

/// The language of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// English.
    En,
    /// Korean.
    Ko,
}

impl Lang {
    pub(crate) fn pick<T>(self, english: T, korean: T) -> T {
        match self {
            Self::En => english,
            Self::Ko => korean,
        }
    }

    fn workload(self, workload: Workload) -> &'static str {
        match workload {
            Workload::One => self.pick("1 connection", "연결 1개"),
            Workload::Fifty => self.pick("50", "50개"),
            Workload::Thousand => self.pick("1,000", "1,000개"),
            Workload::EightThousand => self.pick("8,000", "8,000개"),
            Workload::Pipelined => self.pick("50, 32 on the way", "50개, 32개씩 보냄"),
            Workload::Large => self.pick("50, 16 KiB", "50개, 16 KiB"),
            Workload::Churn => self.pick("connect and close", "맺고 끊기"),
            Workload::Datagrams => self.pick("UDP, 50 peers", "UDP, 상대 50명"),
            Workload::Idle => self.pick("5,000 idle", "쉬는 연결 5,000개"),
            Workload::Hog => self.pick("beside a hog", "읽지 않는 상대 곁"),
        }
    }

    fn measure(self, measure: Measure) -> &'static str {
        match measure {
            Measure::Rate => self.pick("messages for each second of CPU", "CPU 1초당 메시지"),
            Measure::P50 => self.pick("p50", "p50"),
            Measure::P99 => self.pick("p99", "p99"),
            Measure::IdleBytes => self.pick("KiB an idle connection", "쉬는 연결당 KiB"),
            Measure::Kept => self.pick("rate of 50 others beside a hog", "읽지 않는 상대 곁에서 다른 50명의 속도"),
            Measure::HogBytes => self.pick("MiB beside a hog", "읽지 않는 상대가 있을 때 MiB"),
        }
    }
}

/// The tables that stand in the README of that language.
pub fn markdown(run: &Run, lang: Lang) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n", intro(run, lang));
    text.push_str(&rates(&run.cells, lang));
    let caption = lang.pick(
        "p99 of the latency as a ratio to `plain-uring` (less is better):",
        "지연 시간의 p99를 `plain-uring`과 견준 비율입니다(작을수록 좋습니다).",
    );
    let _ = writeln!(text, "\n{caption}\n");
    text.push_str(&latencies(&run.cells, lang));
    let caption = lang.pick("What was to be reached, and what was:", "목표와 결과입니다.");
    let verdicts = verdicts(&run.cells);
    if !verdicts.is_empty() {
        let _ = writeln!(text, "\n{caption}\n");
        text.push_str(&targets(&verdicts, lang));
    }
    text.push_str(&skips(&run.skips, lang));
    text
}

fn intro(run: &Run, lang: Lang) -> String {
    let (linux, cores) = (&run.machine.linux, run.machine.cores);
    let (rounds, seconds) = (run.cells.rounds_count(), run.seconds);
    lang.pick(
        format!(
            "Linux {linux}, {cores} cores, loopback, server and load on a core each; {rounds} interleaved rounds of {seconds} s, \
             medians. Messages for each second of the server's CPU, as a ratio to `plain-uring` in the same round (more is \
             better). `plain-…` are servers of 50 to 260 lines without Sotong. An idle connection's memory is the growth of \
             PSS, divided. The hog sends and never reads while 50 others play: their rate as a ratio to that without it, and \
             the server's largest PSS."
        ),
        format!(
            "Linux {linux}, 코어 {cores}개, 루프백, 서버와 부하에 코어 하나씩; {seconds}초씩 {rounds}회를 번갈아 돌려 중앙값을 \
             구했습니다. 서버 CPU 1초당 메시지를 같은 회차의 `plain-uring`과 견준 비율입니다(클수록 좋습니다). `plain-…`은 Sotong \
             없이 50줄에서 260줄로 짠 서버입니다. 쉬는 연결의 메모리는 늘어난 PSS를 연결 수로 나눈 값입니다. 마지막 칸은 보내기만 하고 \
             읽지 않는 상대가 있을 때 다른 50명의 속도를 그런 상대가 없을 때와 견준 비율, 그리고 서버의 가장 큰 PSS입니다."
        ),
    )
}

/// Rows of cells as a Markdown table; the first row is its head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if at == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

pub(crate) fn number(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.digits$}"))
}

pub(crate) fn kib(bytes: f64) -> f64 {
    bytes / 1024.0
}

fn mib(bytes: f64) -> f64 {
    kib(bytes) / 1024.0
}

/// The table of rates and memory alone.
pub fn rates(cells: &Cells, lang: Lang) -> String {
    let mut head = vec![String::new()];
    head.extend(Workload::rates().map(|workload| lang.workload(workload).to_owned()));
    head.push(lang.measure(Measure::IdleBytes).to_owned());
    head.push(lang.workload(Workload::Hog).to_owned());
    let rows = cells.servers().into_iter().map(|server| {
        let mut row = vec![format!("`{server}`")];
        row.extend(
            Workload::rates().map(|workload| number(cells.ratio(Measure::Rate, workload, server, "plain-uring"), 2)),
        );
        row.push(number(cells.median(Measure::IdleBytes, Workload::Idle, server).map(kib), 1));
        let kept = cells.median(Measure::Kept, Workload::Hog, server);
        let most = cells.median(Measure::HogBytes, Workload::Hog, server).map(mib);
        row.push(match most {
            Some(most) => format!("{}, {most:.1} MiB", number(kept, 2)),
            None => number(None, 2),
        });
        row
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn latencies(cells: &Cells, lang: Lang) -> String {
    let mut head = vec![String::new()];
    head.extend(Workload::rates().map(|workload| lang.workload(workload).to_owned()));
    let rows = cells.servers().into_iter().map(|server| {
        let mut row = vec![format!("`{server}`")];
        row.extend(
            Workload::rates().map(|workload| number(cells.ratio(Measure::P99, workload, server, "plain-uring"), 2)),
        );
        row
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn targets(verdicts: &[Verdict], lang: Lang) -> String {
    let head = lang.pick(["model", "what", "to reach", "found", "reached"], ["모델", "무엇", "목표", "결과", "달성"]);
    let rows = verdicts.iter().map(|verdict| {
        let target = &verdict.target;
        let scale = |number: f64| match target.measure {
            Measure::IdleBytes => kib(number),
            Measure::HogBytes => mib(number),
            Measure::Rate | Measure::P50 | Measure::P99 | Measure::Kept => number,
        };
        let mut what = lang.measure(target.measure).to_owned();
        if let Some(other) = target.against {
            let _ = write!(what, " / `{other}`");
        }
        match target.workloads.as_slice() {
            [one] if target.against.is_some() => {
                let _ = write!(what, ", {}", lang.workload(*one));
            }
            [_] => {}
            _ => what.push_str(lang.pick(", everywhere", ", 모든 부하")),
        }
        let bound = match target.bound {
            Bound::AtLeast(least) => format!("≥ {}", scale(least)),
            Bound::AtMost(most) => format!("≤ {}", scale(most)),
        };
        let found = match verdict.worst {
            Some((at, worst)) if target.workloads.len() > 1 => format!("{:.2} ({})", scale(worst), lang.workload(at)),
            Some((_, worst)) => format!("{:.2}", scale(worst)),
            None => number(None, 2),
        };
        let reached = match verdict.reached() {
            Some(true) => lang.pick("yes", "예"),
            Some(false) => lang.pick("**no**", "**아니요**"),
            None => lang.pick("not measured", "재지 않음"),
        };
        vec![format!("`{}`", target.server), what, bound, found, reached.to_owned()]
    });
    table(&std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect::<Vec<_>>())
}

fn skips(skips: &[Skip], lang: Lang) -> String {
    let mut text = String::new();
    for Skip { server, workload, why } in skips {
        let of = workload.map(|workload| format!(" ({})", lang.workload(workload))).unwrap_or_default();
        let word = lang.pick("Left out", "재지 않은 것");
        let gap = if text.is_empty() { "\n" } else { "" };
        let _ = writeln!(text, "{gap}- {word}: `{server}`{of}: {why}");
    }
    text
}

/// The plain servers' ratios beside those expected of them; `!` marks one that is off by more than 0.1.
pub fn peers(cells: &Cells) -> String {
    let checks = target::check_peers(cells);
    let mut head = vec![String::new()];
    head.extend(PEER_WORKLOADS.map(|workload| workload.name().to_owned()));
    let mut rows = vec![head];
    for server in cells.servers().into_iter().filter(|name| checks.iter().any(|check| check.server == *name)) {
        let mut row = vec![server.to_owned()];
        row.extend(PEER_WORKLOADS.map(|workload| {
            let own = checks.iter().find(|check| (check.server, check.workload) == (server, workload));
            own.map_or_else(String::new, |check| {
                let mark = if check.is_right() { "" } else { " !" };
                let (from, to) = check.expected;
                let expected =
                    if (to - from).abs() < 0.005 { format!("{from:.2}") } else { format!("{from:.2}-{to:.2}") };
                format!("{:.2} ({expected}){mark}", check.found)
            })
        }));
        rows.push(row);
    }
    table(&rows)
}

/// The text of a README with `tables` between its markers.
///
/// # Errors
/// If the markers are not there.
pub fn embed(readme: &str, tables: &str) -> Result<String, MissingMarkers> {
    embed_as("bench", readme, tables)
}

/// The same between the markers of `name`.
///
/// # Errors
/// If the markers are not there.
pub fn embed_as(name: &'static str, text: &str, tables: &str) -> Result<String, MissingMarkers> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let (before, rest) = text.split_once(&begin).ok_or(MissingMarkers(name))?;
    let (_, after) = rest.split_once(&end).ok_or(MissingMarkers(name))?;
    Ok(format!("{before}{begin}{tables}{end}{after}"))
}

/// A README has no place for the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no lines <!-- {0}:begin --> and <!-- {0}:end -->")]
pub struct MissingMarkers(&'static str);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tests::rate;

    fn run() -> Run {
        let cells = Cells(vec![
            rate(0, Workload::One, "plain-uring", 100, 1),
            rate(0, Workload::One, "plain-epoll", 200, 2),
            rate(0, Workload::One, "epoll", 100, 4),
        ]);
        let machine = Machine { linux: "6.1".to_owned(), cores: 2 };
        let skips = vec![Skip { server: "uring".to_owned(), workload: None, why: "not here".to_owned() }];
        Run { machine, seconds: 2.0, cells, skips }
    }

    #[test]
    fn the_tables_hold_ratios_verdicts_and_what_was_left_out() {
        let text = markdown(&run(), Lang::En);
        for line in [
            "| `plain-epoll` | 2.00 | – | – | – | – | – | – | – | – | – |",
            "| `epoll` | 4.00 | – | – | – | – | – | – | – |",
            "| `epoll` | messages for each second of CPU / `plain-epoll`, everywhere | ≥ 0.95 | 0.50 (1 connection) | **no** |",
            "| `epoll` | KiB an idle connection | ≤ 0.5 | – | not measured |",
            "| `epoll` | MiB beside a hog | ≤ 20 | – | not measured |",
            "- Left out: `uring`: not here",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn both_languages_have_the_same_tables() {
        let shape = |lang| {
            let text = markdown(&run(), lang);
            text.lines().map(|line| (line.is_empty(), line.matches('|').count())).collect::<Vec<_>>()
        };
        assert_eq!(shape(Lang::En), shape(Lang::Ko));
    }

    #[test]
    fn the_check_of_the_plain_servers_marks_what_is_off() {
        let text = peers(&run().cells);
        assert!(text.contains("| plain-epoll | 2.00 (0.98) ! |  |"), "{text}");
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let readme = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n";
        let new = embed(readme, "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nb\n");
        assert_eq!(embed(&new, "new\n").unwrap(), new);
        assert_eq!(embed("a\n", "new\n"), Err(MissingMarkers("bench")));
    }
}
