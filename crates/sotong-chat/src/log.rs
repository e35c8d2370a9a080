//! The log: every message gets its place in the one order from it before anybody is told of it, and whoever was not there
//! reads from it what he has missed.
//!
//! This one is in memory, and bounded in messages and in bytes. It is the seam for one on disk, and for one that several
//! servers share: they give places, keep what was said and hand names out as this does.
use crate::news::News;
use sotong_session::{Map, Topic};
use std::{collections::VecDeque, sync::Arc};

/// Where something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shelf<W> {
    /// In a room.
    Room(Topic),
    /// To one person alone.
    Person(W),
}

/// What was said, for as long as somebody may come back who was not there. `W` is a person.
#[derive(Debug)]
pub(crate) struct Log<W> {
    place: u64,
    shelves: Map<Shelf<W>, VecDeque<Arc<News>>>,
    /// What is kept, the oldest first. A shelf may have lost it before.
    order: VecDeque<(u64, Shelf<W>)>,
    count: usize,
    bytes: usize,
    /// Whose each name is.
    names: Map<String, W>,
}

impl<W: Copy + Ord> Log<W> {
    pub(crate) fn new() -> Self {
        Self { place: 0, shelves: Map::new(), order: VecDeque::new(), count: 0, bytes: 0, names: Map::new() }
    }

    // Places.

    /// The place that was given last.
    pub(crate) fn place(&self) -> u64 {
        self.place
    }
    /// A place for what nobody reads later.
    pub(crate) fn next(&mut self) -> u64 {
        self.place += 1;
        self.place
    }
    /// Gives a message its place, and keeps it: so many in one place, so many bytes in all.
    pub(crate) fn append(
        &mut self,
        shelf: Shelf<W>,
        (messages_max, bytes_max): (usize, usize),
        news: impl FnOnce(u64) -> News,
    ) -> Arc<News> {
        let place = self.next();
        let news = Arc::new(news(place));
        let kept = self.shelves.entry(shelf).or_default();
        kept.push_back(Arc::clone(&news));
        self.count += 1;
        self.bytes += size(&news);
        self.order.push_back((place, shelf));
        if kept.len() > messages_max
            && let Some(oldest) = kept.front().map(|news| news.place)
        {
            self.drop_oldest(shelf, oldest);
        }
        while self.bytes > bytes_max
            && let Some((place, shelf)) = self.order.pop_front()
        {
            self.drop_oldest(shelf, place);
        }
        self.trim();
        news
    }
    /// Takes out of the order what its shelves have lost, where that is more than half of it.
    fn trim(&mut self) {
        if self.order.len() > 2 * self.count + SPARE {
            let first = |shelf: &Shelf<W>| self.shelves.get(shelf).and_then(VecDeque::front).map(|news| news.place);
            self.order.retain(|(place, shelf)| first(shelf).is_some_and(|first| first <= *place));
        }
    }
    /// What was said behind a place, as far as it is kept.
    pub(crate) fn tail(&self, shelf: Shelf<W>, from: u64) -> impl Iterator<Item = &Arc<News>> {
        let kept = self.shelves.get(&shelf);
        let begin = kept.map_or(0, |kept| kept.partition_point(|news| news.place <= from));
        kept.into_iter().flat_map(move |kept| kept.range(begin..))
    }
    /// The place behind which so many messages are the last there, of those that are meant.
    pub(crate) fn before_last(&self, shelf: Shelf<W>, count: usize, is_meant: impl Fn(&News) -> bool) -> u64 {
        let Some(kept) = self.shelves.get(&shelf) else { return self.place };
        kept.iter().rev().filter(|news| is_meant(news)).nth(count).map_or(0, |news| news.place)
    }
    /// Nobody comes back to what was said there.
    pub(crate) fn forget(&mut self, shelf: Shelf<W>) {
        let kept = self.shelves.remove(&shelf).unwrap_or_default();
        self.count -= kept.len();
        self.bytes -= kept.iter().map(|news| size(news)).sum::<usize>();
        self.trim();
    }
    /// Names, messages that are kept, their bytes, and the length of their order.
    pub(crate) fn sizes(&self) -> [usize; 4] {
        [self.names.len(), self.count, self.bytes, self.order.len()]
    }
    /// Whether what is counted is what is there.
    ///
    /// # Errors
    /// What is not, in words.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let kept = self.shelves.values().flatten();
        let counted = kept.fold((0, 0), |(count, bytes), news| (count + 1, bytes + size(news)));
        if counted != (self.count, self.bytes) {
            return Err(format!("{counted:?} messages and bytes are kept, and {:?} counted", (self.count, self.bytes)));
        }
        Ok(())
    }
    fn drop_oldest(&mut self, shelf: Shelf<W>, place: u64) {
        let Some(kept) = self.shelves.get_mut(&shelf) else { return };
        if kept.front().is_some_and(|news| news.place == place)
            && let Some(oldest) = kept.pop_front()
        {
            self.count -= 1;
            self.bytes -= size(&oldest);
        }
        if kept.is_empty() {
            self.shelves.remove(&shelf);
        }
    }

    // Names.

    /// Takes a name, of which there is one owner. False if it is another's.
    pub(crate) fn claim(&mut self, key: String, who: W) -> bool {
        *self.names.entry(key).or_insert(who) == who
    }
    pub(crate) fn release(&mut self, key: &str) {
        self.names.remove(key);
    }
    pub(crate) fn owner(&self, key: &str) -> Option<W> {
        self.names.get(key).copied()
    }
    /// Names behind `after`, in their order, and their owners.
    pub(crate) fn owners_after(&self, after: &str) -> impl Iterator<Item = (&str, W)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.names.range::<str, _>((Excluded(after), Unbounded)).map(|(key, who)| (key.as_str(), *who))
    }
}

/// How many that are lost already the order may have, beside as many as there are.
pub(crate) const SPARE: usize = 64;

/// About what a message takes.
fn size(news: &News) -> usize {
    let tags = news.tags.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<Box<str>>());
    // Its words, and once more as a line in the form that most have seen.
    let heard = news.only.as_ref().map_or(0, |only| size_of_val(&**only));
    size_of::<News>() + 2 * (news.words() + news.source.len()) + tags.sum::<usize>() + heard
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::news::{Verb, What};
    use sotong_session::Wall;

    const ROOM: Shelf<u8> = Shelf::Room(Topic(1));
    const OTHER: Shelf<u8> = Shelf::Person(1);

    fn say(log: &mut Log<u8>, shelf: Shelf<u8>, limits: (usize, usize)) {
        let what = What::Said { verb: Verb::Privmsg, to: "#a".into(), text: "x".into(), lines: Box::default() };
        log.append(shelf, limits, |place| News::new(place, None, "a!b@c".into(), Wall(0), what));
    }
    fn said<'a>(tail: impl Iterator<Item = &'a Arc<News>>) -> Vec<u64> {
        tail.map(|news| news.place).collect()
    }

    #[test]
    fn what_was_said_behind_a_place() {
        let mut log = Log::new();
        for shelf in [ROOM, OTHER, ROOM, ROOM] {
            say(&mut log, shelf, (10, 1 << 20));
        }
        assert_eq!(log.next(), 5);
        assert_eq!(said(log.tail(ROOM, 0)), [1, 3, 4]);
        assert_eq!(said(log.tail(ROOM, 1)), [3, 4]);
        assert_eq!(said(log.tail(ROOM, 2)), [3, 4]);
        assert_eq!(said(log.tail(OTHER, 2)), [0; 0]);
        let before = |count| log.before_last(ROOM, count, |_| true);
        assert_eq!((before(2), before(3), before(9)), (1, 0, 0));
        assert_eq!(log.before_last(ROOM, 1, |news| news.place != 3), 1);
        log.forget(ROOM);
        assert_eq!(said(log.tail(ROOM, 0)), [0; 0]);
        log.forget(OTHER);
        assert_eq!(log.bytes, 0);
        assert_eq!(log.audit(), Ok(()));
        // Nor is what nobody comes back to any more kept in the order.
        for _ in 0..1000 {
            say(&mut log, ROOM, (1000, 1 << 20));
        }
        log.forget(ROOM);
        assert!(log.sizes()[3] <= SPARE, "{:?}", log.sizes());
    }

    #[test]
    fn the_oldest_goes_where_there_is_too_much() {
        let mut log = Log::new();
        for _ in 0..5 {
            say(&mut log, ROOM, (3, 1 << 20));
        }
        assert_eq!(said(log.tail(ROOM, 0)), [3, 4, 5]);
        // Bytes count over all, and the oldest of all goes.
        let room = log.bytes;
        say(&mut log, OTHER, (3, room));
        assert_eq!((said(log.tail(ROOM, 0)), said(log.tail(OTHER, 0))), (vec![4, 5], vec![6]));
        assert!(log.bytes <= room);
        for _ in 0..1000 {
            say(&mut log, ROOM, (3, 1 << 20));
        }
        assert!(log.order.len() <= 2 * log.count + SPARE, "what is forgotten is no more known");
        assert_eq!((said(log.tail(ROOM, 0)).len(), said(log.tail(OTHER, 0))), (3, vec![6]));
    }

    #[test]
    fn a_name_has_one_owner() {
        let mut log = Log::new();
        assert!(log.claim("a".into(), 1) && log.claim("a".into(), 1) && !log.claim("a".into(), 2));
        assert_eq!((log.owner("a"), log.owner("b")), (Some(1), None));
        assert!(log.claim("b".into(), 2));
        assert_eq!(log.owners_after("a").collect::<Vec<_>>(), [("b", 2)]);
        log.release("a");
        assert!(log.claim("a".into(), 2));
    }
}
