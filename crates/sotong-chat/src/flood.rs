//! Fair delay: how fast one connection may command, and how many come from one address.
use crate::ChatLimits;
use sotong_session::{Map, Moment};
use std::{collections::VecDeque, net::IpAddr, time::Duration};

/// Commands of one connection: some at once, then one after the other.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// When all that was taken has been paid for.
    paid: Option<Moment>,
}

impl Bucket {
    /// Takes a command. When the next may be taken, if that is not at once.
    pub(crate) fn take(&mut self, now: Moment, limits: &ChatLimits) -> Option<Moment> {
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + limits.command_time;
        self.paid = Some(paid);
        let credit = limits.command_time * limits.burst.saturating_sub(1);
        let debt = paid.since(now);
        (debt > credit).then(|| now + (debt - credit))
    }
}

/// What one household has: an address of IPv4, or all that have the first 64 bits of one of IPv6 (RFC 6177 §2). Whoever has
/// one of these has them all, so that counting each would limit nobody.
pub(crate) fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::from((ip.to_bits() >> 64 << 64).to_be_bytes()),
        ip => ip,
    }
}

/// Connections by the households they come from.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    from: Map<IpAddr, From>,
    /// How many addresses there may be before those that count for nothing are forgotten.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct From {
    open: usize,
    /// When the latest came, the oldest first.
    came: VecDeque<Moment>,
}

/// How long a new connection counts as new.
const NEW: Duration = Duration::from_secs(600);

impl Doors {
    /// A connection has come from `ip`. The name of the limit, if it may not stay; it is counted all the same until
    /// [`Self::leave`].
    pub(crate) fn enter(&mut self, ip: IpAddr, now: Moment, limits: &ChatLimits) -> Result<(), &'static str> {
        let ip = household(ip);
        if self.from.len() >= self.sweep_at {
            // Whoever has not come for so long is forgotten.
            self.from.retain(|_, from| from.open > 0 || from.came.back().is_some_and(|came| now.since(*came) < NEW));
            self.sweep_at = ADDRESSES_KEPT.max(2 * self.from.len());
        }
        let from = self.from.entry(ip).or_default();
        from.open += 1;
        while from.came.front().is_some_and(|came| now.since(*came) >= NEW) {
            from.came.pop_front();
        }
        if limits.connections_per_address > 0 && from.open > limits.connections_per_address {
            return Err("connections_per_address");
        }
        if limits.new_connections_per_address > 0 {
            if from.came.len() >= limits.new_connections_per_address {
                return Err("new_connections_per_address");
            }
            from.came.push_back(now);
        }
        Ok(())
    }
    pub(crate) fn leave(&mut self, ip: IpAddr) {
        if let Some(from) = self.from.get_mut(&household(ip)) {
            from.open = from.open.saturating_sub(1);
        }
    }
    /// One that has come from `ip` is somebody else's, and counts there no more. False if there is none.
    pub(crate) fn take_back(&mut self, ip: IpAddr) -> bool {
        let Some(from) = self.from.get_mut(&household(ip)).filter(|from| from.open > 0) else { return false };
        from.open -= 1;
        from.came.pop_back();
        true
    }
    /// The same one counts again, just before it leaves.
    pub(crate) fn put_back(&mut self, ip: IpAddr) {
        self.from.entry(household(ip)).or_default().open += 1;
    }
}

/// The least of these.
const ADDRESSES_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_at_once_then_two_a_second() {
        let limits = ChatLimits::default();
        let mut bucket = Bucket::default();
        let start = Moment::START + Duration::from_secs(100);
        for _ in 0..4 {
            assert_eq!(bucket.take(start, &limits), None);
        }
        // The fifth is taken, and the sixth waits.
        let next = bucket.take(start, &limits).expect("it waits");
        assert_eq!(next.since(start), Duration::from_millis(500));
        assert_eq!(bucket.take(next, &limits).map(|at| at.since(next)), Some(Duration::from_millis(500)));
        assert_eq!(bucket.take(next + Duration::from_secs(10), &limits), None);
    }

    #[test]
    fn connections_of_one_address() {
        let limits = ChatLimits { connections_per_address: 2, new_connections_per_address: 3, ..ChatLimits::default() };
        let (mut doors, ip) = (Doors::default(), IpAddr::from([192, 0, 2, 1]));
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        assert_eq!(doors.enter(ip, at(0), &limits), Ok(()));
        assert_eq!(doors.enter(ip, at(0), &limits), Ok(()));
        assert_eq!(doors.enter(ip, at(0), &limits), Err("connections_per_address"));
        doors.leave(ip);
        doors.leave(ip);
        assert_eq!(doors.enter(ip, at(1), &limits), Ok(()));
        doors.leave(ip);
        assert_eq!(doors.enter(ip, at(2), &limits), Err("new_connections_per_address"));
        doors.leave(ip);
        assert_eq!(doors.enter(IpAddr::from([192, 0, 2, 2]), at(2), &limits), Ok(()));
        assert_eq!(doors.enter(ip, at(600), &limits), Ok(()));
    }

    #[test]
    fn a_household_with_ipv6_is_one() {
        let limits = ChatLimits { connections_per_address: 2, ..ChatLimits::default() };
        let mut doors = Doors::default();
        let mut come = |ip: &str| doors.enter(ip.parse().expect("an address"), Moment::START, &limits);
        assert_eq!(come("2001:db8:0:1::1"), Ok(()));
        assert_eq!(come("2001:db8:0:1:ffff::2"), Ok(()));
        assert_eq!(come("2001:db8:0:1::3"), Err("connections_per_address"));
        assert_eq!(come("2001:db8:0:2::1"), Ok(()));
    }
}
