//! The rooms a session hears.
use crate::news::{Mail, What};
use sotong_session::{Address, Host, Map, Topic};

/// Which rooms a session is told of, as far as it has been told.
///
/// The hall knows at once who is in a room; a session hears of it in the room's order. So whoever leaves hears everything
/// that came before, and nothing that came behind, though his topic brings it until he has left that too.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    seats: Map<Topic, Seat>,
    /// The place of what was told last through a room: somebody who shares several rooms with it is told once.
    last: u64,
}

#[derive(Debug)]
struct Seat {
    /// The latest stay that was begun.
    stay: u64,
    /// Whether its beginning has been told, and its end has not.
    is_told: bool,
}

impl Seats {
    /// A stay was begun: its topic brings mail from here on.
    pub(crate) fn begin(&mut self, room: Topic, stay: u64) {
        self.seats.entry(room).or_insert(Seat { stay, is_told: false }).stay = stay;
    }
    /// Whether this piece of mail is to be shown. Notes what it says of this session's own stays, and leaves the topic of a
    /// room that has been left.
    pub(crate) fn hears(&mut self, mail: &Mail, me: Address, host: &mut dyn Host<Mail>) -> bool {
        let Some(room) = mail.room else { return true };
        let news = &mail.news;
        let is_double = std::mem::replace(&mut self.last, news.place) == news.place;
        let Some(seat) = self.seats.get_mut(&room) else { return false };
        match &news.what {
            What::Joined { .. } if news.by == Some(me) => seat.is_told = true,
            What::Parted { stay, .. } if news.by == Some(me) => return self.end(room, *stay, me, host),
            What::Kicked { whom, stay, .. } if *whom == me => return self.end(room, *stay, me, host),
            _ => {}
        }
        seat.is_told && !is_double
    }
    fn end(&mut self, room: Topic, stay: u64, me: Address, host: &mut dyn Host<Mail>) -> bool {
        let Some(seat) = self.seats.get_mut(&room) else { return false };
        let was_told = std::mem::replace(&mut seat.is_told, false);
        if seat.stay == stay {
            self.seats.remove(&room);
            host.leave(room, me);
        }
        was_told
    }
}
