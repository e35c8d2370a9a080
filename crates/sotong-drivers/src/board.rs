//! Where the processes of a server see how many connections each of them has.
use sotong_net::shared::Shared;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
};

/// Numbers of a seat: connections, and how many there may be (0: it accepts nothing).
const NUMBERS: usize = 2;
const LOAD: usize = 0;
const MAX: usize = 1;

/// Seats for all processes of a server.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    numbers: Arc<Shared>,
}

/// One process's seat.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    board: Board,
    seat: usize,
}

impl Board {
    pub(crate) fn new(seats: usize) -> io::Result<Self> {
        Ok(Self { numbers: Arc::new(Shared::new(seats * NUMBERS)?) })
    }
    pub(crate) fn map(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { numbers: Arc::new(Shared::map(fd)?) })
    }
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.numbers.as_fd()
    }
    fn seats(&self) -> usize {
        self.numbers.len() / NUMBERS
    }
    /// A process's own seat; `None` if there is none of this number.
    pub(crate) fn share(&self, seat: usize) -> Option<Share> {
        (seat < self.seats()).then(|| Share { board: self.clone(), seat })
    }
    /// Connections of a seat.
    pub(crate) fn load(&self, seat: usize) -> u64 {
        self.number(seat, LOAD)
    }
    /// Nobody sits there any more, however it ended.
    pub(crate) fn clear(&self, seat: usize) {
        for which in [MAX, LOAD] {
            self.numbers[seat * NUMBERS + which].store(0, Ordering::SeqCst);
        }
    }
    fn number(&self, seat: usize, which: usize) -> u64 {
        self.numbers[seat * NUMBERS + which].load(Ordering::SeqCst)
    }
}

impl Share {
    /// How many connections it takes from here on; 0 for none.
    pub(crate) fn open(&self, max: usize) {
        self.board.numbers[self.seat * NUMBERS + MAX].store(max as u64, Ordering::SeqCst);
    }
    pub(crate) fn add(&self) {
        self.board.numbers[self.seat * NUMBERS + LOAD].fetch_add(1, Ordering::SeqCst);
    }
    pub(crate) fn sub(&self) {
        self.board.numbers[self.seat * NUMBERS + LOAD].fetch_sub(1, Ordering::SeqCst);
    }
    /// Whether it has more than 1.25 times the mean of all who take connections now. Never if it is the only one.
    pub(crate) fn is_above(&self) -> bool {
        let mine = self.board.load(self.seat);
        let (mut sum, mut count) = (mine, 1);
        for seat in (0..self.board.seats()).filter(|seat| *seat != self.seat) {
            let load = self.board.load(seat);
            if load < self.board.number(seat, MAX) {
                sum += load;
                count += 1;
            }
        }
        // mine > 1.25 × sum / count, in whole numbers.
        4 * mine * count > 5 * sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_load(board: &Board, seat: usize, max: usize, load: usize) -> Share {
        let share = board.share(seat).unwrap();
        share.open(max);
        (0..load).for_each(|_| share.add());
        share
    }

    #[test]
    fn more_than_a_quarter_above_the_mean_is_above() {
        for (mine, others, is_above) in [
            (0, &[0, 0][..], false),
            (1, &[0], true),
            (1, &[1], false),
            (5, &[4, 3], false),
            (6, &[4, 3], true),
            (9, &[], false),
            (2, &[1], true),
            (10, &[8, 6], false),
        ] {
            let board = Board::new(4).unwrap();
            let share = with_load(&board, 3, 100, mine);
            for (seat, load) in others.iter().enumerate() {
                with_load(&board, seat, 100, *load);
            }
            assert_eq!(share.is_above(), is_above, "{mine} beside {others:?}");
        }
    }

    #[test]
    fn who_takes_nothing_does_not_count() {
        let board = Board::new(4).unwrap();
        let share = with_load(&board, 0, 100, 5);
        let full = with_load(&board, 1, 2, 2);
        assert!(!share.is_above());
        full.sub();
        assert!(share.is_above());
        full.open(0);
        assert!(!share.is_above());
        let theirs = Board::map(board.fd().try_clone_to_owned().unwrap()).unwrap();
        theirs.clear(0);
        assert_eq!((board.load(0), theirs.load(1)), (0, 1));
        assert!(board.share(4).is_none());
    }
}
