//! What happened in a run, so that two runs can be compared and one can be read.
use sotong_session::Address;
use std::{borrow::Cow, fmt};

/// What happened in a run, in order. Equal seeds give equal traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    lines: Vec<Line>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Virtual time, nanoseconds since the run began.
    pub at: u64,
    /// Whom it happened to.
    pub who: Address,
    /// An event's name, or what the driver did.
    pub what: &'static str,
    /// How many bytes it was about.
    pub bytes: usize,
    /// A hash of these bytes.
    pub hash: u64,
    /// More in words: a close reason, a payload that is short.
    pub note: Cow<'static, str>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, who: Address { shard, slot, turn }, what, bytes, hash, note } = self;
        write!(f, "{:>14.6} ms  {shard}.{slot}.{turn:<4} {what:<10} ", *at as f64 / 1e6)?;
        if *bytes > 0 {
            write!(f, "{bytes:>5} bytes {hash:016x} ")?;
        }
        f.write_str(note)
    }
}

impl Trace {
    /// The lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
    /// One number for the whole trace.
    pub fn digest(&self) -> u64 {
        self.lines.iter().fold(FNV_BASIS, |hash, line| {
            let Line { at, who, what, bytes, hash: of_bytes, note } = line;
            let numbers = [*at, who.shard.into(), who.slot.into(), who.turn.into(), *bytes as u64, *of_bytes];
            let hash = numbers.iter().fold(hash, |hash, number| fnv(hash, &number.to_le_bytes()));
            fnv(fnv(hash, what.as_bytes()), note.as_bytes())
        })
    }
    /// The last lines, as text.
    pub fn tail(&self, count: usize) -> String {
        let from = self.lines.len().saturating_sub(count);
        self.lines[from..].iter().map(|line| format!("{line}\n")).collect()
    }
    pub(crate) fn add(&mut self, at: u64, who: Address, what: &'static str, bytes: &[u8], note: Cow<'static, str>) {
        let hash = if bytes.is_empty() { 0 } else { fnv(FNV_BASIS, bytes) };
        self.lines.push(Line { at, who, what, bytes: bytes.len(), hash, note });
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// FNV-1a: short, and the same everywhere.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
