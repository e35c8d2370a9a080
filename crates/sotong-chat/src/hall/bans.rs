//! Who is kept out of the server: networks and masks, for a time or for good.
use crate::books::BanRecord;
use sotong_irc::{mask, names};
use sotong_session::{
    Wall,
    cidr::{Cidr, CidrError},
};
use std::{fmt, net::IpAddr, sync::Arc};

/// The network that was written: `192.0.2.0/24`, `2001:db8::/32`, or one address; what is behind the first bits is left out.
pub(crate) fn network(written: &str) -> Option<Cidr> {
    match written.parse() {
        Ok(network) | Err(CidrError::HostBits { meant: network, .. }) => Some(network),
        Err(_) => None,
    }
}

/// What a ban of the server's covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Whoever comes from there (DLINE).
    Network(Cidr),
    /// Whoever is called so, folded: `nick!user@host` (KLINE).
    Mask(Box<str>),
}

impl Target {
    /// What a record means: a network, if it is one.
    fn read(written: &str) -> Self {
        network(written).map_or_else(|| Self::mask(written), Self::Network)
    }
    /// A mask as it is kept, made of what was written.
    pub(crate) fn mask(written: &str) -> Self {
        Self::Mask(mask::whole(written).into())
    }
    /// Whether it is a network (DLINE), or a mask (KLINE).
    pub(crate) fn is_network(&self) -> bool {
        matches!(self, Self::Network(_))
    }
    /// Whether it covers nearly everybody, which nobody means.
    pub(crate) fn is_everybody(&self) -> bool {
        match self {
            Self::Network(network) => network.bits() == 0,
            Self::Mask(mask) => mask.chars().all(|c| matches!(c, '*' | '?' | '!' | '@')),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // One address alone is written as operators write it.
            Self::Network(network) => match network.only() {
                Some(ip) => ip.fmt(f),
                None => network.fmt(f),
            },
            Self::Mask(mask) => f.write_str(mask),
        }
    }
}

/// A ban, and what it covers.
#[derive(Clone, Debug)]
pub(crate) struct Ban {
    pub(crate) target: Target,
    pub(crate) record: Arc<BanRecord>,
}

impl Ban {
    pub(crate) fn new(record: &Arc<BanRecord>) -> Self {
        Self { target: Target::read(&record.mask), record: Arc::clone(record) }
    }
    pub(crate) fn holds(&self, now: Wall) -> bool {
        self.record.until.is_none_or(|until| now.0 < until)
    }
    pub(crate) fn covers(&self, who: &Candidate<'_>) -> bool {
        match &self.target {
            Target::Network(network) => who.origin.is_some_and(|origin| network.contains(origin.ip)),
            Target::Mask(mask) => {
                let by = |host: &dyn fmt::Display| mask::covers(mask, &with_host(who.source, host));
                let origin = who.origin;
                mask::covers(mask, who.source)
                    || origin.is_some_and(|origin| by(&origin.ip) || origin.name.as_ref().is_some_and(|name| by(name)))
            }
        }
    }
}

/// Somebody who is here or wants to be: his folded source, and where he is really from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'c> {
    pub(crate) source: &'c str,
    pub(crate) origin: Option<&'c Origin>,
}

/// Where a connection is really from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) ip: IpAddr,
    /// The name of that address, where it has been looked up.
    pub(crate) name: Option<Box<str>>,
}

/// The source with the real host: operators ban by either.
fn with_host(source: &str, host: &dyn fmt::Display) -> String {
    let name = source.rsplit_once('@').map_or(source, |(name, _)| name);
    names::fold(&format!("{name}@{host}"))
}

/// All bans of the server, as the books have them, ready to be compared with whoever comes.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    bans: Vec<Ban>,
}

impl Bans {
    /// Takes over what the books have.
    pub(crate) fn read<'r>(&mut self, records: impl Iterator<Item = &'r Arc<BanRecord>>) {
        self.bans = records.map(Ban::new).collect();
    }
    /// Those that hold.
    pub(crate) fn all(&self, now: Wall) -> impl Iterator<Item = &Ban> {
        self.bans.iter().filter(move |ban| ban.holds(now))
    }
    /// The ban that keeps somebody out.
    pub(crate) fn against(&self, who: &Candidate<'_>, now: Wall) -> Option<&Ban> {
        self.all(now).find(|ban| ban.covers(who))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bans(records: &[(&str, Option<i64>)]) -> Bans {
        let record = |(mask, until): &(&str, Option<i64>)| {
            let (by, reason, mask) = ("op".into(), "go away".into(), (*mask).into());
            Arc::new(BanRecord { mask, by, reason, oper_reason: None, at: 0, until: *until })
        };
        let records: Vec<_> = records.iter().map(record).collect();
        let mut bans = Bans::default();
        bans.read(records.iter());
        bans
    }
    fn from(source: &'static str, ip: &str) -> Candidate<'static> {
        from_name(source, ip, None)
    }
    fn from_name(source: &'static str, ip: &str, name: Option<&str>) -> Candidate<'static> {
        let origin = ip.parse().ok().map(|ip| &*Box::leak(Box::new(Origin { ip, name: name.map(Into::into) })));
        Candidate { source, origin }
    }

    #[test]
    fn networks() {
        for (written, shown) in [
            ("192.0.2.77/24", Some("192.0.2.0/24")),
            ("192.0.2.77", Some("192.0.2.77")),
            ("2001:db8:1::/32", Some("2001:db8::/32")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("192.0.2.77/33", None),
            ("::/129", None),
            ("192.0.2", None),
            ("host.example", None),
        ] {
            let shown_as = network(written).map(|network| Target::Network(network).to_string());
            assert_eq!(shown_as.as_deref(), shown, "{written}");
        }
    }

    #[test]
    fn a_ban_holds_until_its_end() {
        let bans = bans(&[("192.0.2.0/24", Some(1000)), ("Eve", None)]);
        let bob = from("bob!~b@host", "192.0.2.9");
        assert!(bans.against(&bob, Wall(999)).is_some());
        assert!(bans.against(&bob, Wall(1000)).is_none());
        assert!(bans.against(&from("eve!~e@host", "198.51.100.1"), Wall(1000)).is_some());
        assert!(bans.against(&from("eva!~e@host", "198.51.100.1"), Wall(1000)).is_none());
        assert_eq!((bans.all(Wall(0)).count(), bans.all(Wall(1000)).count()), (2, 1));
    }

    #[test]
    fn a_mask_covers_the_real_address_as_well() {
        let bans = bans(&[("*@192.0.2.*", None)]);
        assert!(bans.against(&from("bob!~b@hidden.cloak", "192.0.2.9"), Wall(0)).is_some());
        assert!(bans.against(&from("bob!~b@hidden.cloak", "192.0.3.9"), Wall(0)).is_none());
        assert!(bans.against(&from("bob!~b@192.0.2.x", "?"), Wall(0)).is_some());
    }

    #[test]
    fn a_mask_covers_the_name_of_the_address_as_well() {
        let bans = bans(&[("*@*.provider.example", None)]);
        let hidden = "bob!~b@hidden.cloak";
        assert!(bans.against(&from_name(hidden, "192.0.2.9", Some("a.provider.example")), Wall(0)).is_some());
        assert!(bans.against(&from_name(hidden, "192.0.2.9", Some("a.other.example")), Wall(0)).is_none());
        assert!(bans.against(&from_name(hidden, "192.0.2.9", None), Wall(0)).is_none());
    }

    #[test]
    fn everybody_is_meant_by_mistake() {
        assert!(Target::mask("*").is_everybody());
        assert!(Target::mask("*!*@*").is_everybody());
        assert!(!Target::mask("a*").is_everybody());
        assert!(Target::Network(network("::/0").expect("a network")).is_everybody());
    }
}
