//! Medians of ratios within a round, and the cells of a run.
use crate::{
    cell::{Cell, Figure},
    workload::Workload,
};

/// The cells of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells(pub Vec<Cell>);

/// One number of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Messages for each second of server CPU.
    Rate,
    /// The latency that half of the answers kept, in seconds.
    P50,
    /// The latency that 99 of 100 answers kept, in seconds.
    P99,
    /// Bytes of PSS for each idle connection.
    IdleBytes,
    /// The rate beside a hog as a ratio to the rate without.
    Kept,
    /// The most PSS of the server beside a hog, in bytes.
    HogBytes,
}

impl Measure {
    fn of(self, figure: &Figure) -> Option<f64> {
        match (self, figure) {
            (Self::Rate, figure) => figure.for_each_cpu_second(),
            (Self::P50, Figure::Rate(tally)) => Some(tally.p50.as_secs_f64()),
            (Self::P99, Figure::Rate(tally)) => Some(tally.p99.as_secs_f64()),
            (Self::IdleBytes, Figure::EachIdle { proportional, .. }) => Some(*proportional),
            (Self::Kept, Figure::Hog { kept, .. }) => Some(*kept),
            (Self::HogBytes, Figure::Hog { most, .. }) => Some(most.proportional as f64),
            _ => None,
        }
    }
}

impl Cells {
    /// The numbers of `server`, a round each.
    fn rounds<'a>(
        &'a self,
        measure: Measure,
        workload: Workload,
        server: &'a str,
    ) -> impl Iterator<Item = (usize, f64)> + 'a {
        let own = self.0.iter().filter(move |cell| cell.workload == workload && cell.server == server);
        own.filter_map(move |cell| Some((cell.round, measure.of(&cell.figure)?)))
    }

    /// The median over the rounds.
    pub fn median(&self, measure: Measure, workload: Workload, server: &str) -> Option<f64> {
        median(self.rounds(measure, workload, server).map(|(_, number)| number).collect())
    }

    /// The median of the ratios to `other`, each within one round; a round that lacks one of the two does not count.
    pub fn ratio(&self, measure: Measure, workload: Workload, server: &str, other: &str) -> Option<f64> {
        let others: Vec<_> = self.rounds(measure, workload, other).collect();
        let ratios = self.rounds(measure, workload, server).filter_map(|(round, number)| {
            let (_, other) = others.iter().find(|(at, other)| *at == round && *other > 0.0)?;
            Some(number / other)
        });
        median(ratios.collect())
    }

    /// The names of all servers, in the order in which they first come.
    pub fn servers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for cell in &self.0 {
            if !names.contains(&cell.server.as_str()) {
                names.push(&cell.server);
            }
        }
        names
    }

    /// How many rounds there were.
    pub fn rounds_count(&self) -> usize {
        self.0.iter().map(|cell| cell.round + 1).max().unwrap_or(0)
    }
}

/// The middle one; between two middle ones, their mean.
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        count if count % 2 == 0 => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
        _ => Some(numbers[middle]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Tally;

    /// A cell in which `messages` took one second of CPU and `p99_ms`.
    pub(crate) fn rate(round: usize, workload: Workload, server: &str, messages: u64, p99_ms: u64) -> Cell {
        let second = Duration::from_secs(1);
        let latency = Duration::from_millis(p99_ms);
        let figure = Figure::Rate(Tally { messages, elapsed: second, cpu: second, p50: latency / 2, p99: latency });
        Cell { round, workload, server: server.to_owned(), figure }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round_before_the_median() {
        let one = Workload::One;
        // The machine is twice as fast in round 1: a ratio of medians would say 1.5.
        let cells = Cells(vec![
            rate(0, one, "a", 100, 1),
            rate(0, one, "b", 100, 2),
            rate(1, one, "a", 200, 1),
            rate(1, one, "b", 200, 1),
            rate(2, one, "a", 300, 1),
            rate(2, one, "b", 100, 4),
        ]);
        assert_eq!(cells.ratio(Measure::Rate, one, "a", "b"), Some(1.0));
        assert_eq!(cells.ratio(Measure::P99, one, "b", "a"), Some(2.0));
        assert_eq!(cells.median(Measure::Rate, one, "a"), Some(200.0));
        assert_eq!(cells.ratio(Measure::Rate, Workload::Fifty, "a", "b"), None);
        assert_eq!((cells.servers(), cells.rounds_count()), (vec!["a", "b"], 3));
    }

    #[test]
    fn a_round_without_its_counterpart_does_not_count() {
        let one = Workload::One;
        let cells = Cells(vec![rate(0, one, "a", 100, 1), rate(1, one, "a", 100, 1), rate(1, one, "b", 50, 1)]);
        assert_eq!(cells.ratio(Measure::Rate, one, "a", "b"), Some(2.0));
        assert_eq!(cells.ratio(Measure::Rate, one, "b", "c"), None);
    }
}
