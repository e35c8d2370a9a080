//! What chat servers are measured by.
use std::str::FromStr;

use super::talk::Shape;
use crate::workload::Scale;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// One talks to 999, at most 64 messages ahead.
    FanAhead,
    /// One talks to 999, a message at a time.
    Fan,
    /// 1,000 clients in 100 rooms of 10, all talking, each a message at a time.
    Rooms,
    /// Connect, register, join, quit; 50 at once.
    Visits,
    /// 1,000 join one room, one after the other.
    Joins,
    /// 1,000 registered clients that say nothing: the memory of each.
    Idle,
}

/// What to do for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Talk.
    Talk(Shape),
    /// Come and go; so many at once.
    Visit(usize),
    /// So many join.
    Join(usize),
    /// Hold so many.
    Hold(usize),
}

/// A bound, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// CPU for each unit, as a ratio to this server's in the same round, is at most so much.
    Ratio(&'static str, f64),
    /// Bytes each are at most so many.
    Bytes(f64),
}

impl Workload {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 6] = [Self::FanAhead, Self::Fan, Self::Rooms, Self::Visits, Self::Joins, Self::Idle];

    /// The name for `--only` and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::FanAhead => "fan-64",
            Self::Fan => "fan-1",
            Self::Rooms => "rooms",
            Self::Visits => "visits",
            Self::Joins => "joins",
            Self::Idle => "idle",
        }
    }
    /// What to do.
    pub fn task(self, scale: Scale) -> Task {
        let clients = match scale {
            Scale::Full => 1000,
            Scale::Smoke => 40,
        };
        let fan = |ahead| Task::Talk(Shape { clients, rooms: 1, all: false, ahead });
        match self {
            Self::FanAhead => fan(64),
            Self::Fan => fan(1),
            Self::Rooms => Task::Talk(Shape { clients, rooms: clients / 10, all: true, ahead: 1 }),
            Self::Visits => Task::Visit(clients.min(50)),
            Self::Joins => Task::Join(clients),
            Self::Idle => Task::Hold(clients),
        }
    }
    /// What Sotong is to reach.
    pub fn target(self) -> Target {
        match self {
            Self::FanAhead => Target::Ratio("relay", 4.0),
            Self::Fan => Target::Ratio("relay", 1.3),
            Self::Rooms => Target::Ratio("relay", 2.0),
            Self::Visits => Target::Ratio("relay", 3.0),
            Self::Joins => Target::Ratio("InspIRCd", 0.9),
            Self::Idle => Target::Bytes(4096.0),
        }
    }
}

impl FromStr for Workload {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| format!("there is no workload {name:?}: there are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workload_is_found_by_its_name() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse(), Ok(workload));
        }
        assert!("fan".parse::<Workload>().unwrap_err().contains("fan-64, fan-1"));
    }

    #[test]
    fn rooms_are_of_ten_at_every_scale() {
        for scale in [Scale::Full, Scale::Smoke] {
            let Task::Talk(shape) = Workload::Rooms.task(scale) else { panic!("a talk") };
            assert_eq!(shape.clients, 10 * shape.rooms);
        }
    }
}
