//! How often a password may be tried.
use crate::flood::household;
use sotong_session::{Map, Moment};
use std::{collections::VecDeque, net::IpAddr, time::Duration};

/// Tries of passwords, by account and by address: whatever the mechanism, and whether or not there is such an account.
///
/// One address may try a few for one account. So that nobody tries many names from one address, or one name from many
/// addresses, each of both alone has a limit as well, ten times as high: a household shares an address, and whoever could be
/// kept out by the tries of strangers should not be so easily.
#[derive(Debug, Default)]
pub struct Throttle {
    tried: Map<Whose, VecDeque<Moment>>,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Both(String, Option<IpAddr>),
    Account(String),
    Address(Option<IpAddr>),
    /// Who has made accounts.
    Made(IpAddr),
}

/// How long a try counts.
const TIME: Duration = Duration::from_secs(60);
/// How long an account counts that was made.
const MADE_TIME: Duration = Duration::from_secs(600);
/// Accounts and addresses that are kept. Beyond that those are forgotten that have not been tried for the longest time.
pub(super) const KEPT_MAX: usize = 16_384;
/// How many times as much an account, or an address, has.
const ALONE: usize = 10;

impl Throttle {
    /// Counts a try for `account` (by its fold) from `address`, of which those without count as one; false if it is one too
    /// many, which does not count. `most` of 0: as many as they like.
    pub fn tries(&mut self, account: &str, address: Option<IpAddr>, now: Moment, most: u32) -> bool {
        if most == 0 {
            return true;
        }
        let most = most as usize;
        let whose = of(account, address);
        let counts = [most, most * ALONE, most * ALONE];
        if whose.iter().zip(counts).any(|(whose, most)| self.count(whose, now) >= most) {
            return false;
        }
        if self.tried.len() + whose.len() > KEPT_MAX {
            self.sweep(now);
        }
        for whose in whose {
            self.tried.entry(whose).or_default().push_back(now);
        }
        true
    }
    /// The last try came to nothing, for the server had too much to do: it does not count.
    pub fn take_back(&mut self, account: &str, address: Option<IpAddr>) {
        for whose in of(account, address) {
            self.forget_last(&whose);
        }
    }
    /// The last try was right: it does not count, and from there the account is not guessed at.
    pub fn forgive(&mut self, account: &str, address: Option<IpAddr>) {
        let [both, account, address] = of(account, address);
        self.tried.remove(&both);
        for whose in [account, address] {
            self.forget_last(&whose);
        }
    }
    /// Accounts, addresses and both together that are kept.
    pub(super) fn len(&self) -> usize {
        self.tried.len()
    }
    fn forget_last(&mut self, whose: &Whose) {
        let Some(tried) = self.tried.get_mut(whose) else { return };
        tried.pop_back();
        if tried.is_empty() {
            self.tried.remove(whose);
        }
    }
    /// Counts an account that somebody at `address` wants to make; false if it is one too many in ten minutes, which does not
    /// count. `most` of 0: as many as they like.
    pub fn makes(&mut self, address: IpAddr, now: Moment, most: usize) -> bool {
        if most == 0 {
            return true;
        }
        let whose = Whose::Made(household(address));
        if self.count(&whose, now) >= most {
            return false;
        }
        if self.tried.len() >= KEPT_MAX {
            self.sweep(now);
        }
        self.tried.entry(whose).or_default().push_back(now);
        true
    }
    fn count(&mut self, whose: &Whose, now: Moment) -> usize {
        let Some(tried) = self.tried.get_mut(whose) else { return 0 };
        let time = whose.time();
        while tried.front().is_some_and(|at| now.since(*at) >= time) {
            tried.pop_front();
        }
        tried.len()
    }
    /// Forgets those that count for nothing, and if there are too many all the same, half of them.
    fn sweep(&mut self, now: Moment) {
        self.tried.retain(|whose, tried| tried.back().is_some_and(|at| now.since(*at) < whose.time()));
        if self.tried.len() > KEPT_MAX / 2 {
            let mut latest: Vec<Moment> = self.tried.values().filter_map(|tried| tried.back().copied()).collect();
            latest.sort_unstable();
            let middle = latest[latest.len() / 2];
            self.tried.retain(|_, tried| tried.back().is_some_and(|at| *at > middle));
        }
    }
}

impl Whose {
    fn time(&self) -> Duration {
        if let Self::Made(_) = self { MADE_TIME } else { TIME }
    }
}

fn of(account: &str, address: Option<IpAddr>) -> [Whose; 3] {
    let address = address.map(household);
    [Whose::Both(account.to_owned(), address), Whose::Account(account.to_owned()), Whose::Address(address)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }
    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn three_a_minute_for_an_account_and_address() {
        let mut throttle = Throttle::default();
        for second in 0..3 {
            assert!(throttle.tries("a", ip(1), at(second), 3));
        }
        assert!(!throttle.tries("a", ip(1), at(3), 3));
        assert!(throttle.tries("a", ip(2), at(3), 3), "who has it comes from elsewhere");
        assert!(throttle.tries("b", ip(1), at(3), 3), "another account");
        assert!(throttle.tries("a", ip(1), at(60), 3), "the first counts no more");
        assert!(!throttle.tries("a", ip(1), at(60), 3));
        throttle.forgive("a", ip(1));
        assert!(throttle.tries("a", ip(1), at(60), 3));
        assert!((0..100).all(|_| throttle.tries("c", ip(1), at(60), 0)));
    }

    #[test]
    fn many_names_from_one_address_and_many_addresses_for_one_name() {
        let mut throttle = Throttle::default();
        let done = (0..100).take_while(|name| throttle.tries(&name.to_string(), ip(1), at(1), 3)).count();
        assert_eq!(done, 30);
        let done = (2..200).take_while(|last| throttle.tries("x", ip(*last), at(1), 3)).count();
        assert_eq!(done, 30);
    }

    #[test]
    fn what_is_right_counts_for_nobody() {
        let mut throttle = Throttle::default();
        for name in 0..100 {
            assert!(throttle.tries(&name.to_string(), ip(1), at(1), 3));
            throttle.forgive(&name.to_string(), ip(1));
        }
        assert!(throttle.tried.is_empty());
        assert!(throttle.tries("a", ip(1), at(1), 3));
        assert!(throttle.tries("a", ip(1), at(1), 3));
        throttle.take_back("a", ip(1));
        assert!(throttle.tries("a", ip(1), at(1), 3) && throttle.tries("a", ip(1), at(1), 3));
        assert!(!throttle.tries("a", ip(1), at(1), 3));
    }

    #[test]
    fn accounts_made_from_one_address() {
        let mut throttle = Throttle::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert!(throttle.makes(one, at(0), 2) && throttle.makes(one, at(1), 2));
        assert!(!throttle.makes(one, at(599), 2) && throttle.makes(other, at(599), 2));
        assert!(throttle.makes(one, at(600), 2) && !throttle.makes(one, at(600), 2));
        assert!((0..99).all(|_| throttle.makes(one, at(600), 0)));
    }

    #[test]
    fn it_keeps_no_more_than_it_may() {
        let mut throttle = Throttle::default();
        for name in 0..KEPT_MAX {
            assert!(throttle.tries(&name.to_string(), ip((name % 250) as u8), at(name as u64 / 50), 3));
        }
        assert!(throttle.tried.len() <= KEPT_MAX);
    }
}
