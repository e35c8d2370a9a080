//! The rooms a session hears.
use crate::{
    Chat,
    hall::Who,
    news::{Mail, Told, What},
};
use sotong_session::{Cx, Map, Topic};

/// Which rooms a session is told of, as far as it has been told.
///
/// The hall knows at once who is in a room; a session hears of it in the room's order. So whoever leaves hears everything
/// that came before, and nothing that came behind, though his topic brings it until he has left that too.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    seats: Map<Topic, Seat>,
    /// The place of what was told last: somebody who shares several rooms with it is told once.
    last: u64,
    /// The place of its going, behind which nothing is for it, though its topics bring more until its answers are out.
    gone: Option<u64>,
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
    /// A stay that began before this connection was his is heard from here on.
    pub(crate) fn take_part(&mut self, room: Topic, stay: u64) {
        self.seats.insert(room, Seat { stay, is_told: true });
    }
    /// Whether this piece of mail is to be shown. Notes what it says of the stays of `me`, by whichever of his connections
    /// he began or ended them, and leaves the topic of a room that has been left.
    pub(crate) fn hears(&mut self, mail: &Told, me: Who, chat: &Chat, cx: &mut Cx<'_, Mail>) -> bool {
        let news = &mail.news;
        let is_double = std::mem::replace(&mut self.last, news.place) == news.place;
        if self.gone.is_some_and(|gone| news.place > gone) {
            return false;
        }
        // Who says something to himself is told so twice.
        let Some(room) = mail.room else { return !is_double || matches!(news.what, What::Said { .. }) };
        if let What::Joined { stay, .. } = &news.what
            && news.by == Some(me)
        {
            let seat = self.seats.entry(room).or_insert(Seat { stay: *stay, is_told: false });
            seat.stay = seat.stay.max(*stay);
            seat.is_told = true;
        }
        let Some(seat) = self.seats.get_mut(&room) else { return false };
        match &news.what {
            What::Parted { stay, .. } if news.by == Some(me) => return self.end(room, *stay, me, chat, cx),
            What::Kicked { whom, stay, .. } if *whom == me => return self.end(room, *stay, me, chat, cx),
            _ => {}
        }
        seat.is_told && !is_double
    }
    /// It has gone from the hall, at this place in the order.
    pub(crate) fn close(&mut self, place: u64) {
        self.gone = Some(place);
    }
    fn end(&mut self, room: Topic, stay: u64, me: Who, chat: &Chat, cx: &mut Cx<'_, Mail>) -> bool {
        let Some(seat) = self.seats.get_mut(&room) else { return false };
        let was_told = std::mem::replace(&mut seat.is_told, false);
        if seat.stay == stay {
            self.seats.remove(&room);
            // Another of his connections may have begun another stay, of which this one has not been told.
            let hall = chat.hall();
            if hall.room_by(room).is_none_or(|room| !room.seats.contains_key(&me)) {
                cx.host.leave(room, cx.me);
            }
        }
        was_told
    }
}
