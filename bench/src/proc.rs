//! What a server costs, by what the kernel says in `/proc` about its process and the processes below it.
use std::{
    collections::BTreeMap,
    fs, io,
    time::{Duration, Instant},
};

/// Processes looked at; more than a machine for measuring has.
const PROCESSES_MAX: usize = 65_536;

/// A process with all that it started.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    root: u32,
}

/// Memory of a process tree, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Own pages, and of shared ones the share (PSS).
    pub proportional: u64,
    /// All pages that are there (RSS), shared ones for each process that has them.
    pub resident: u64,
}

/// A line of `/proc/PID/stat`: the parent, and the time spent, in ticks, by children that it has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ended_ticks: u64,
}

impl Tree {
    /// The tree below the process `root`.
    pub fn new(root: u32) -> Self {
        Self { root }
    }

    /// CPU time of user and system so far, of all threads: in nanoseconds by the processes' own clocks, and in steps of 10 ms
    /// for processes that have ended.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cpu(self) -> io::Result<Duration> {
        let stats = stats()?;
        let mut spent = clock(self.root)?;
        let mut ended_ticks = stats.get(&self.root).ok_or(io::ErrorKind::NotFound)?.ended_ticks;
        for pid in below(&stats, self.root) {
            // One that ends meanwhile is in its parent's count the next time.
            spent += clock(pid).unwrap_or_default();
            ended_ticks += stats.get(&pid).map_or(0, |stat| stat.ended_ticks);
        }
        Ok(spent + Duration::from_micros(ended_ticks * 1_000_000 / rustix::param::clock_ticks_per_second()))
    }

    /// Memory now.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn memory(self) -> io::Result<Memory> {
        let mut memory = rollup(&fs::read_to_string(format!("/proc/{}/smaps_rollup", self.root))?);
        for pid in below(&stats()?, self.root) {
            // One that has just ended needs no memory.
            let more = rollup(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default());
            memory.proportional += more.proportional;
            memory.resident += more.resident;
        }
        Ok(memory)
    }

    /// Memory once it no longer changes by more than a page in 100 ms, or after `limit`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn memory_at_rest(self, limit: Duration) -> io::Result<Memory> {
        let began = Instant::now();
        let mut last = self.memory()?;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let memory = self.memory()?;
            if memory.proportional.abs_diff(last.proportional) <= 4096 || began.elapsed() > limit {
                return Ok(memory);
            }
            last = memory;
        }
    }
}

/// The CPU time of all threads of a process, those that have ended included.
fn clock(pid: u32) -> io::Result<Duration> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?);
    Ok(nix::time::ClockId::pid_cpu_clock_id(pid)?.now()?.into())
}

fn stats() -> io::Result<BTreeMap<u32, Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.take(PROCESSES_MAX) {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while the list is read.
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        all.extend(stat(&text).map(|stat| (pid, stat)));
    }
    Ok(all)
}

/// The name stands in brackets and may itself hold brackets and spaces.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ended_ticks = fields.get(13..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ended_ticks })
}

fn below(stats: &BTreeMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        found.extend(stats.iter().filter(|(_, stat)| stat.parent == pid).map(|(&child, _)| child));
        at += 1;
    }
    found.split_off(1)
}

fn rollup(text: &str) -> Memory {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_ascii_whitespace().next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Memory { proportional: field("Pss:"), resident: field("Rss:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "71 (a) (b 9) S 70 71 71 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 5 0 12 1 1";
        assert_eq!(stat(text), Some(Stat { parent: 70, ended_ticks: 4 }));
        assert_eq!(stat("71 (a) S 70"), None);
    }

    #[test]
    fn grandchildren_are_below_too() {
        let stat = |parent| Stat { parent, ended_ticks: 0 };
        let stats = BTreeMap::from([(2, stat(1)), (3, stat(2)), (4, stat(2)), (5, stat(4)), (6, stat(1))]);
        assert_eq!(below(&stats, 2), [3, 4, 5]);
        assert_eq!(below(&stats, 6), [0; 0]);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "00-ff ---p 00000000 00:00 0 [rollup]\nRss:    12 kB\nPss:     7 kB\nPss_Dirty:  1 kB\n";
        assert_eq!(rollup(text), Memory { proportional: 7 << 10, resident: 12 << 10 });
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let tree = Tree::new(std::process::id());
        let memory = tree.memory().unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 0);
        let before = tree.cpu().unwrap();
        let began = Instant::now();
        while tree.cpu().unwrap() == before {
            assert!(began.elapsed() < Duration::from_secs(60), "time passes");
        }
    }
}
