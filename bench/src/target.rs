//! What each model has to reach, and whether it did.
use crate::{
    stats::{Cells, Measure},
    workload::Workload,
};

/// A bound on a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// What one server has to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Whose it is.
    pub server: String,
    /// Which number.
    pub measure: Measure,
    /// Where: in each of these.
    pub workloads: Vec<Workload>,
    /// As a ratio to this server; else the number itself.
    pub against: Option<&'static str>,
    /// How much.
    pub bound: Bound,
}

/// A target with what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was to be reached.
    pub target: Target,
    /// The number farthest from the bound's good side, and where it was; none if nothing was measured.
    pub worst: Option<(Workload, f64)>,
}

impl Verdict {
    /// Whether it was reached.
    pub fn reached(&self) -> Option<bool> {
        self.worst.map(|(_, number)| match self.target.bound {
            Bound::AtLeast(least) => number >= least,
            Bound::AtMost(most) => number <= most,
        })
    }
}

/// The verdicts over every target of a server that took part.
pub fn verdicts(cells: &Cells) -> Vec<Verdict> {
    let servers = cells.servers();
    let of = |target: Target| Verdict { worst: worst(cells, &target), target };
    all(&servers).into_iter().filter(|target| servers.contains(&target.server.as_str())).map(of).collect()
}

fn worst(cells: &Cells, target: &Target) -> Option<(Workload, f64)> {
    let numbers = target.workloads.iter().filter_map(|&workload| {
        let number = match target.against {
            Some(other) => cells.ratio(target.measure, workload, &target.server, other),
            None => cells.median(target.measure, workload, &target.server),
        };
        Some((workload, number?))
    });
    match target.bound {
        Bound::AtLeast(_) => numbers.min_by(|(_, a), (_, b)| a.total_cmp(b)),
        Bound::AtMost(_) => numbers.max_by(|(_, a), (_, b)| a.total_cmp(b)),
    }
}

fn all(servers: &[&str]) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    const KIB: f64 = 1024.0;
    let target = |server: &str, measure, workloads: &[Workload], against, bound| Target {
        server: server.to_owned(),
        measure,
        workloads: workloads.to_vec(),
        against,
        bound,
    };
    let rates: Vec<_> = Workload::rates().collect();
    let rate = |server, workloads: &[Workload], against, least| {
        target(server, Measure::Rate, workloads, Some(against), AtLeast(least))
    };
    let idle = |server, most| target(server, Measure::IdleBytes, &[Workload::Idle], None, AtMost(most));
    let mut targets = vec![
        rate("uring", &rates, "plain-uring", 0.95),
        rate("uring", &[Workload::Thousand], "plain-tokio-current", 1.2),
        rate("uring", &[Workload::Large], "plain-epoll", 0.95),
        target("uring", Measure::P99, &[Workload::Thousand], Some("plain-uring"), AtMost(1.5)),
        rate("epoll", &rates, "plain-epoll", 0.95),
        rate("async", &rates, "plain-tokio-current", 0.97),
        rate("threads", &rates, "plain-threads", 0.95),
        rate("threads+mail", &rates, "plain-threads", 0.90),
        idle("uring", KIB / 2.0),
        idle("epoll", KIB / 2.0),
        idle("async", 2.0 * KIB),
        idle("threads", 26.0 * KIB),
    ];
    for server in servers.iter().filter(|name| !name.starts_with("plain-") && **name != "sequential") {
        targets.push(target(server, Measure::Kept, &[Workload::Hog], None, AtLeast(0.9)));
        targets.push(target(server, Measure::HogBytes, &[Workload::Hog], None, AtMost(20.0 * KIB * KIB)));
    }
    targets
}

/// What the plain servers reached when they were first measured, as ratios to plain io_uring (Linux 6.18, loopback, server
/// and load on a core each, ±5 %): from what to what.
const PEERS: [(&str, [(f64, f64); 7]); 4] = [
    ("plain-epoll", [(0.98, 0.98), (0.96, 0.96), (0.95, 0.95), (0.89, 0.89), (1.05, 1.05), (1.07, 1.19), (0.97, 0.97)]),
    (
        "plain-tokio-multi",
        [(0.91, 0.91), (0.90, 0.90), (0.84, 0.84), (0.84, 0.84), (0.98, 0.98), (0.98, 0.98), (0.91, 0.91)],
    ),
    (
        "plain-tokio-current",
        [(0.96, 0.96), (0.96, 0.96), (0.79, 0.79), (0.77, 0.77), (1.01, 1.01), (0.99, 0.99), (0.91, 0.91)],
    ),
    (
        "plain-threads",
        [(1.07, 1.07), (0.58, 0.58), (0.41, 0.41), (0.40, 0.40), (0.65, 0.65), (0.75, 0.75), (0.43, 0.43)],
    ),
];
/// The workloads of which is known what plain servers reach, in the order of that table.
pub const PEER_WORKLOADS: [Workload; 7] = [
    Workload::One,
    Workload::Fifty,
    Workload::Thousand,
    Workload::EightThousand,
    Workload::Pipelined,
    Workload::Large,
    Workload::Churn,
];
/// How far off a plain server may be before it is taken for wrong.
const PEER_OFF_MAX: f64 = 0.1;

/// A plain server's ratio beside the one that is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerCheck {
    /// Which server.
    pub server: &'static str,
    /// Under which load.
    pub workload: Workload,
    /// Where the ratio should be: from, to.
    pub expected: (f64, f64),
    /// The ratio to plain io_uring.
    pub found: f64,
}

impl PeerCheck {
    /// Whether it is within 0.1.
    pub fn is_right(&self) -> bool {
        let (from, to) = self.expected;
        // Both are figures of two digits: 0.83 is within 0.1 of 0.93, whatever binary fractions make of it.
        ((from - PEER_OFF_MAX) * 100.0).round() <= (self.found * 100.0).round()
            && (self.found * 100.0).round() <= ((to + PEER_OFF_MAX) * 100.0).round()
    }
}

/// The plain servers that were measured, beside what is expected of them.
pub fn check_peers(cells: &Cells) -> Vec<PeerCheck> {
    let rows = PEERS.iter().flat_map(|(server, expected)| {
        PEER_WORKLOADS.iter().zip(expected).map(move |(&workload, &expected)| (*server, workload, expected))
    });
    let check = |(server, workload, expected)| {
        let found = cells.ratio(Measure::Rate, workload, server, "plain-uring")?;
        Some(PeerCheck { server, workload, expected, found })
    };
    rows.filter_map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cell::{Cell, Figure},
        proc::Memory,
        stats::tests::rate,
    };

    fn verdict(verdicts: &[Verdict], server: &str, measure: Measure, against: Option<&str>) -> Verdict {
        let fits =
            |target: &Target| (target.server.as_str(), target.measure, target.against) == (server, measure, against);
        verdicts.iter().find(|verdict| fits(&verdict.target)).expect("there is such a target").clone()
    }

    #[test]
    fn the_worst_workload_decides() {
        let cells = Cells(vec![
            rate(0, Workload::One, "plain-epoll", 100, 1),
            rate(0, Workload::One, "epoll", 99, 1),
            rate(0, Workload::Fifty, "plain-epoll", 100, 1),
            rate(0, Workload::Fifty, "epoll", 94, 1),
        ]);
        let found = verdict(&verdicts(&cells), "epoll", Measure::Rate, Some("plain-epoll"));
        assert_eq!((found.worst, found.reached()), (Some((Workload::Fifty, 0.94)), Some(false)));
    }

    #[test]
    fn a_bound_itself_is_reached_and_nothing_measured_is_neither() {
        let cells = Cells(vec![
            rate(0, Workload::Thousand, "plain-uring", 100, 10),
            rate(0, Workload::Thousand, "uring", 95, 15),
        ]);
        let all = verdicts(&cells);
        assert_eq!(verdict(&all, "uring", Measure::Rate, Some("plain-uring")).reached(), Some(true));
        assert_eq!(verdict(&all, "uring", Measure::P99, Some("plain-uring")).reached(), Some(true));
        assert_eq!(verdict(&all, "uring", Measure::Rate, Some("plain-epoll")).reached(), None);
        assert!(all.iter().all(|verdict| verdict.target.server == "uring"), "only who took part is judged");
    }

    #[test]
    fn every_model_but_sequential_is_held_to_the_hog() {
        let hog = |server: &str, kept, proportional| Cell {
            round: 0,
            workload: Workload::Hog,
            server: server.to_owned(),
            figure: Figure::Hog { kept, most: Memory { proportional, resident: proportional } },
        };
        let cells = Cells(vec![
            hog("processes", 0.89, 20 << 20),
            hog("epoll", 0.9, (20 << 20) + 1),
            hog("sequential", 0.0, 1),
            hog("plain-epoll", 0.0, 1),
        ]);
        let all = verdicts(&cells);
        assert_eq!(verdict(&all, "processes", Measure::Kept, None).reached(), Some(false));
        assert_eq!(verdict(&all, "processes", Measure::HogBytes, None).reached(), Some(true));
        assert_eq!(verdict(&all, "epoll", Measure::Kept, None).reached(), Some(true));
        assert_eq!(verdict(&all, "epoll", Measure::HogBytes, None).reached(), Some(false));
        assert!(!all.iter().any(|verdict| ["sequential", "plain-epoll"].contains(&verdict.target.server.as_str())));
    }

    #[test]
    fn a_plain_server_that_is_off_is_seen() {
        let cells = |messages| {
            Cells(vec![
                rate(0, Workload::Large, "plain-uring", 100, 1),
                rate(0, Workload::Large, "plain-epoll", messages, 1),
            ])
        };
        let right = |messages| check_peers(&cells(messages)).iter().map(PeerCheck::is_right).collect::<Vec<_>>();
        assert_eq!([right(96), right(97), right(129), right(130)], [[false], [true], [true], [false]]);
    }
}
