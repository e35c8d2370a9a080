//! Output memory that no connection needs now.
use sotong_session::Output;

/// The largest buffer that is kept: as large as an empty output keeps itself. One that a slow peer has made larger goes back
/// to the system with its connection.
const BUFFER_BYTES_MAX: usize = 136 << 10;
/// All that is kept together. Bytes, not buffers, are counted: a line to thousands of members needs as many small buffers at
/// once, and shall not allocate for each of them.
const BUFFERS_BYTES_MAX: usize = 4 << 20;
/// What a buffer counts at least: its own place here costs something, too.
const BUFFER_BYTES_MIN: usize = 64;

/// The buffers of a loop, lent to outputs that have something to say.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    list: Vec<Vec<u8>>,
    bytes: usize,
}

impl Buffers {
    /// Lends `out` memory if it has none.
    pub(crate) fn lend(&mut self, out: &mut Output) {
        if !out.has_memory()
            && let Some(buffer) = self.list.pop()
        {
            self.bytes -= weight(&buffer);
            out.adopt(buffer);
        }
    }
    /// Takes memory back from an output, if there is some and it is worth keeping.
    pub(crate) fn take_back(&mut self, out: &mut Output) {
        let Some(buffer) = out.release() else { return };
        let weight = weight(&buffer);
        if weight <= BUFFER_BYTES_MAX && self.bytes + weight <= BUFFERS_BYTES_MAX {
            self.bytes += weight;
            self.list.push(buffer);
        }
    }
}

fn weight(buffer: &Vec<u8>) -> usize {
    buffer.capacity().max(BUFFER_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotong_session::{Kind, Marks};

    /// Outputs that have said `bytes` each, all at the same time, and given their memory back.
    fn after(count: usize, bytes: usize) -> Buffers {
        let mut buffers = Buffers::default();
        let mut outs: Vec<Output> = (0..count).map(|_| Output::new(Kind::Socket, Marks::default())).collect();
        for out in &mut outs {
            buffers.lend(out);
            out.put(&vec![b'x'; bytes]);
        }
        for out in &mut outs {
            out.clear();
            buffers.take_back(out);
        }
        buffers
    }

    #[test]
    fn a_short_line_to_thousands_needs_no_new_memory_the_second_time() {
        let mut buffers = after(4096, 100);
        for _ in 0..4096 {
            let mut out = Output::new(Kind::Socket, Marks::default());
            buffers.lend(&mut out);
            assert!(out.has_memory());
        }
        assert_eq!((buffers.list.len(), buffers.bytes), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        assert_eq!(after(8, 1 << 20).bytes, 0, "a large buffer is not kept");
        for bytes in [1, 1000, 40_000] {
            let buffers = after(100_000.min((16 << 20) / bytes), bytes);
            let kept: usize = buffers.list.iter().map(Vec::capacity).sum();
            assert!(kept <= BUFFERS_BYTES_MAX && buffers.bytes <= BUFFERS_BYTES_MAX);
            assert!(buffers.bytes + 2 * 64 * 1024 > BUFFERS_BYTES_MAX, "and used");
        }
    }
}
