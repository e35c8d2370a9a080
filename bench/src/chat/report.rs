//! The table of a run, in English and Korean, as Markdown.
use std::fmt::Write;

use super::{Run, Server, Target, Workload};
use crate::report::{Lang, kib, number, table};

impl Lang {
    fn chat_workload(self, workload: Workload) -> &'static str {
        match workload {
            Workload::FanAhead => self.pick(
                "1 sender, 999 receivers, at most 64 undelivered",
                "보내는 사람 1명, 받는 사람 999명, 덜 전달된 것 64개까지",
            ),
            Workload::Fan => self.pick("the same, one message at a time", "같은 것, 한 번에 하나씩"),
            Workload::Rooms => {
                self.pick("1,000 clients in 100 rooms of 10, all sending", "10명씩 방 100개에 1,000명, 모두 보냄")
            }
            Workload::Visits => {
                self.pick("connect, register, join, quit; 50 at once", "연결, 등록, 입장, 종료; 동시에 50개")
            }
            Workload::Joins => {
                self.pick("1,000 joins to one room, one after the other", "방 하나에 1,000명이 차례로 입장")
            }
            Workload::Idle => {
                self.pick("memory of a registered client that is idle (KiB)", "등록하고 쉬는 클라이언트의 메모리 (KiB)")
            }
        }
    }
}

/// The line and table that stand in a page of that language.
pub fn markdown(run: &Run, lang: Lang) -> String {
    let (linux, cores) = (&run.machine.linux, run.machine.cores);
    let (rounds, seconds) = (run.rounds_count(), run.seconds);
    let mut text = lang.pick(
        format!(
            "Linux {linux}, {cores} cores, loopback, server and load on a core each; {rounds} interleaved rounds, windows of \
             {seconds} s, medians. CPU time of the server (its own clock, in nanoseconds) for each delivery, visit or join, as a \
             ratio to that of `relay` in the same round (less is better); joins to that of InspIRCd. `relay` is a bare relay of \
             lines over epoll, one write a receiver a turn, with no chat state. Flood control is off everywhere, each server has \
             its defaults otherwise and one core. No message was lost, doubled or out of order. Memory is the growth of PSS with \
             1,000 clients, divided."
        ),
        format!(
            "Linux {linux}, 코어 {cores}개, 루프백, 서버와 부하에 코어 하나씩; {seconds}초씩 {rounds}회를 번갈아 돌려 중앙값을 \
             구했습니다. 전달, 방문, 입장 하나마다 든 서버의 CPU 시간(서버 자신의 나노초 시계)을 같은 회차의 `relay`와 견준 \
             비율입니다(작을수록 좋습니다). 입장은 InspIRCd와 견줍니다. `relay`는 채팅 상태 없이 epoll로 줄만 옮기며, 한 차례에 받는 \
             사람마다 한 번 씁니다. 속도 제한은 모두 껐고, 나머지는 각 서버의 기본값이며 코어 하나를 씁니다. 잃거나 겹치거나 순서가 \
             바뀐 메시지는 없었습니다. 메모리는 클라이언트 1,000개로 늘어난 PSS를 나눈 값입니다."
        ),
    );
    text.push_str("\n\n");
    let servers: Vec<_> =
        Server::ALL.into_iter().filter(|server| run.cells.iter().any(|cell| cell.server == *server)).collect();
    let mut head = vec![String::new()];
    head.extend(servers.iter().map(|server| format!("`{}`", server.name())));
    head.push(lang.pick("to reach", "목표").to_owned());
    head.push(lang.pick("`relay` itself", "`relay` 자체").to_owned());
    let rows = Workload::ALL.into_iter().filter(|workload| run.cells.iter().any(|cell| cell.workload == *workload));
    let rows = rows.map(|workload| {
        let mut row = vec![lang.chat_workload(workload).to_owned()];
        row.extend(servers.iter().map(|server| {
            let found = figure(run, workload, *server);
            let text = number(found, 2);
            let is_missed = server.is_ours() && found.is_some_and(|found| found > bound(workload));
            if is_missed { format!("**{text}**") } else { text }
        }));
        row.push(format!("≤ {}", bound(workload)));
        row.push(run.median(workload, Server::Relay).map_or_else(|| number(None, 0), |each| brief(workload, each)));
        row
    });
    text.push_str(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    for (server, why) in &run.skips {
        let _ = writeln!(text, "\n- {}: `{}`: {why}", lang.pick("Left out", "재지 않은 것"), server.name());
    }
    text
}

/// What stands in the table for a server.
fn figure(run: &Run, workload: Workload, server: Server) -> Option<f64> {
    match workload.target() {
        Target::Ratio(other, _) => run.ratio(workload, server, Server::named(other)?),
        Target::Bytes(_) => run.median(workload, server).map(kib),
    }
}
fn bound(workload: Workload) -> f64 {
    match workload.target() {
        Target::Ratio(_, most) => most,
        Target::Bytes(most) => kib(most),
    }
}

/// Which of our servers reach what they are to reach, and which do not: workload, server, what was found and the bound.
pub fn targets_met(run: &Run) -> Vec<(Workload, Server, f64, f64)> {
    let ours = || Server::ALL.into_iter().filter(|server| server.is_ours());
    let cells = Workload::ALL.into_iter().flat_map(|workload| ours().map(move |server| (workload, server)));
    cells
        .filter_map(|(workload, server)| Some((workload, server, figure(run, workload, server)?, bound(workload))))
        .collect()
}

/// A figure for people.
pub(super) fn brief(workload: Workload, each: f64) -> String {
    match workload.target() {
        Target::Bytes(_) => format!("{:.2} KiB", kib(each)),
        Target::Ratio(..) if each < 1e-6 => format!("{:.0} ns", each * 1e9),
        Target::Ratio(..) => format!("{:.1} µs", each * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::run_of, *};

    #[test]
    fn the_table_has_ratios_and_marks_what_is_missed() {
        use Server::*;
        let run = run_of(&[
            (0, Workload::Fan, Relay, 1e-6),
            (0, Workload::Fan, Epoll, 1.25e-6),
            (0, Workload::Fan, Uring, 1.4e-6),
            (0, Workload::Idle, Epoll, 2048.0),
        ]);
        let text = markdown(&run, Lang::En);
        for line in [
            "| the same, one message at a time | 1.00 | **1.40** | 1.25 | ≤ 1.3 | 1.0 µs |",
            "| memory of a registered client that is idle (KiB) | – | – | 2.00 | ≤ 4 | – |",
            "- Left out: `ngIRCd`: not here",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        assert_eq!(targets_met(&run).len(), 3);
        let shape = |lang| markdown(&run, lang).lines().map(|line| line.matches('|').count()).collect::<Vec<_>>();
        assert_eq!(shape(Lang::En), shape(Lang::Ko));
    }
}
