//! How many connections a process may hold: the limit of descriptors, and ours.
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of one process, unless the caller asks for another number.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Descriptors kept free for what is no connection: listeners, files, pipes, the resolver, logs.
pub const DESCRIPTORS_RESERVED: usize = 256;

/// The limit of open descriptors of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// What holds.
    pub soft: usize,
    /// What it was before [`raise_limit`].
    pub before: usize,
}

/// How many connections at once, and what decided that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Connections at once; at least 1.
    pub connections: usize,
    /// What decided.
    pub bound: CapBound,
}

/// What decided a [`Cap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapBound {
    /// [`CONNECTIONS_MAX`].
    Default,
    /// The number that was asked for.
    Asked,
    /// The limit of descriptors, so that the number asked for, or the default, cannot be reached: worth a line at start.
    Descriptors,
}

/// Raises the soft limit of descriptors to the hard one. If the system refuses, the limit stays, and [`cap`] counts with it.
pub fn raise_limit() -> DescriptorLimit {
    let old = getrlimit(Resource::Nofile);
    let before = descriptors(old.current);
    if old.current == old.maximum {
        return DescriptorLimit { soft: before, before };
    }
    let _ = setrlimit(Resource::Nofile, Rlimit { current: old.maximum, maximum: old.maximum });
    DescriptorLimit { soft: descriptors(getrlimit(Resource::Nofile).current), before }
}

/// The smaller of what is asked for (`None`: [`CONNECTIONS_MAX`]) and what `limit` leaves beside [`DESCRIPTORS_RESERVED`],
/// where each connection needs `each` descriptors: 1, or 2 under a model that gives each connection a waker too.
pub fn cap(asked: Option<usize>, limit: DescriptorLimit, each: usize) -> Cap {
    let wanted = asked.unwrap_or(CONNECTIONS_MAX).max(1);
    let possible = (limit.soft.saturating_sub(DESCRIPTORS_RESERVED) / each.max(1)).max(1);
    let bound = match asked {
        _ if possible < wanted => CapBound::Descriptors,
        Some(_) => CapBound::Asked,
        None => CapBound::Default,
    };
    Cap { connections: wanted.min(possible), bound }
}

fn descriptors(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_number_decides() {
        use CapBound::{Asked, Default, Descriptors};
        for (asked, soft, each, connections, bound) in [
            (None, usize::MAX, 1, 16_384, Default),
            (None, 16_640, 1, 16_384, Default),
            (None, 16_639, 1, 16_383, Descriptors),
            (None, 20_000, 2, 9_872, Descriptors),
            (Some(100), 20_000, 2, 100, Asked),
            (Some(50_000), 20_000, 1, 19_744, Descriptors),
            (Some(50_000), 1 << 20, 1, 50_000, Asked),
            (Some(0), 1024, 1, 1, Asked),
            (None, 256, 1, 1, Descriptors),
            (None, 20, 2, 1, Descriptors),
        ] {
            let cap = cap(asked, DescriptorLimit { soft, before: soft }, each);
            assert_eq!(cap, Cap { connections, bound }, "{asked:?} {soft} {each}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raise_limit();
        let holds = getrlimit(Resource::Nofile);
        assert_eq!(holds.current, holds.maximum);
        assert!(limit.soft >= limit.before);
        assert_eq!(raise_limit(), DescriptorLimit { soft: limit.soft, before: limit.soft });
    }
}
