//! The chat's desks in a run: a store that is what a restart finds, and a desk of passwords; slow, busy and failing.
use crate::scram::mac;
use sotong_chat::{
    Mail,
    books::{Account, Answer, Ask, BanRecord, Change, Hashed, Records, RoomRecord, SALT_BYTES, ScramKeys, StoreFault},
};
use sotong_irc::names;
use sotong_sim::{DeskPlan, Dice};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// What is on the disk, by folded names.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) accounts: BTreeMap<String, Arc<Account>>,
    pub(crate) rooms: BTreeMap<String, Arc<RoomRecord>>,
    pub(crate) bans: BTreeMap<String, Arc<BanRecord>>,
    /// Why nothing is written any more.
    pub(crate) fault: Option<StoreFault>,
    /// How often each password was found to be right.
    pub(crate) right: BTreeMap<String, u64>,
    /// Passwords that accounts had at any time, by the accounts' folded names.
    pub(crate) had: BTreeSet<(String, String)>,
}

/// How the desks of a run are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moods {
    /// The longest that a piece of work takes.
    pub(crate) time_max: Duration,
    /// Asks in a thousand that are refused.
    pub(crate) refusals: u32,
    /// Writes in a thousand at which the store fails for good.
    pub(crate) faults: u32,
    /// Passwords in a thousand that cannot be hashed or looked at.
    pub(crate) failures: u32,
}

impl Moods {
    /// Nothing goes wrong, and nothing takes long.
    pub(crate) const GOOD: Self = Self { time_max: Duration::from_millis(1), refusals: 0, faults: 0, failures: 0 };

    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            time_max: Duration::from_millis(dice.one_of(&[0, 1, 50, 2_000, 60_000])),
            refusals: dice.one_of(&[0, 0, 0, 100, 400]),
            faults: dice.one_of(&[0, 0, 0, 50, 300]),
            failures: dice.one_of(&[0, 0, 100]),
        }
    }
}

impl Store {
    /// What the chat is handed as it starts.
    pub(crate) fn records(&self) -> Records {
        Records {
            accounts: self.accounts.values().map(|account| Account::clone(account)).collect(),
            rooms: self.rooms.values().map(|room| RoomRecord::clone(room)).collect(),
            bans: self.bans.values().map(|ban| BanRecord::clone(ban)).collect(),
        }
    }
    /// What confirms that an account is to go.
    pub(crate) fn code_of_account(&self, name: &str) -> String {
        let registered = self.accounts.get(&names::fold(name)).map_or(0, |account| account.registered);
        let mac = mac(&[0; 32], format!("unregister {name} {registered}").as_bytes());
        mac[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
    /// What confirms that a room is to be nobody's.
    pub(crate) fn code_of_room(&self, name: &str) -> String {
        let registered = self.rooms.get(&names::fold(name)).map_or(0, |room| room.registered);
        format!("{:04}", registered.div_euclid(7) % 10_000)
    }
    pub(crate) fn has_failed(&self) -> bool {
        self.fault.is_some()
    }
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Account(account) => {
                let password = account.password.as_deref().unwrap_or_default().replacen(PLAIN, "", 1);
                self.had.insert((names::fold(&account.name), password));
                drop(self.accounts.insert(names::fold(&account.name), Arc::clone(account)));
            }
            Change::NoAccount(fold) => drop(self.accounts.remove(&**fold)),
            Change::Room(room) => drop(self.rooms.insert(names::fold(&room.name), Arc::clone(room))),
            Change::NoRoom(fold) => drop(self.rooms.remove(&**fold)),
            Change::Ban(ban) => drop(self.bans.insert(ban.mask.to_string(), Arc::clone(ban))),
            Change::NoBan(mask) => drop(self.bans.remove(&**mask)),
        }
    }
    fn answer(&mut self, ask: &Ask, moods: Moods, dice: &mut Dice) -> Answer {
        match ask {
            Ask::Store(ticket, changes) => {
                if self.fault.is_none() && dice.chance(moods.faults) {
                    self.fault = Some(StoreFault { why: "the disk is full".into(), since: *ticket });
                }
                if let Some(fault) = &self.fault {
                    return Answer::Stored(*ticket, Err(fault.clone()));
                }
                changes.iter().for_each(|change| self.apply(change));
                Answer::Stored(*ticket, Ok(()))
            }
            Ask::Hash(ticket, secret) => {
                let hashed = (!dice.chance(moods.failures)).then(|| hashed(secret.bytes()));
                Answer::Hashed(*ticket, hashed)
            }
            Ask::Verify(ticket, secret, kept) => {
                let is_right = kept.as_deref() == Some(&*hash(secret.bytes())) && !dice.chance(moods.failures);
                if is_right {
                    *self.right.entry(String::from_utf8_lossy(secret.bytes()).into_owned()).or_default() += 1;
                }
                Answer::Verified(*ticket, is_right)
            }
            // Nobody here comes from an address.
            Ask::Look(ticket, _) => Answer::Found(*ticket, None),
        }
    }
}

/// What no hash begins with.
pub(crate) const PLAIN: &str = "plain:";
/// No hash at all, but one to one.
pub(crate) fn hash(secret: &[u8]) -> String {
    format!("{PLAIN}{}", String::from_utf8_lossy(secret))
}
fn hashed(secret: &[u8]) -> Hashed {
    Hashed { password: hash(secret).into(), scram: ScramKeys::new(secret, [7; SALT_BYTES], 1) }
}
/// An account of this password.
pub(crate) fn account(name: &str, password: &str) -> Account {
    let Hashed { password, scram } = hashed(password.as_bytes());
    Account { password: Some(password), scram: Some(scram), ..Account::new(name, 1_700_000_000_000) }
}

/// The desks, in the order of their numbers: that which stores answers in the order of its asks, that of passwords in any.
pub(crate) fn desks(store: &Rc<RefCell<Store>>, moods: Moods) -> [DeskPlan<Mail>; 2] {
    let desk = |any_order, queue_max| {
        let store = Rc::clone(store);
        let work = Box::new(move |mail: Mail, dice: &mut Dice| {
            let ask = mail.asked().expect("a desk is asked");
            Mail::answer(store.borrow_mut().answer(ask, moods, dice))
        });
        let Moods { time_max, refusals, .. } = moods;
        DeskPlan { queue_max, refusals, time_max, any_order, work, others: Box::new(Vec::new) }
    };
    [desk(false, 8), desk(true, 4)]
}
