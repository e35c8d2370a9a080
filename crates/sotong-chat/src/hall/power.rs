//! What operators of the server do, and whom it keeps out.
use super::{
    Hall, Refusal, Teller, Who,
    bans::{Ban, Candidate, Origin},
    personal::PersonModes,
};
use crate::{
    news::{Mail, News, Verb, What},
    opers::{Oper, OperClass, Privilege},
    options::cut,
};
use sotong_irc::names;
use sotong_session::{Address, Wall};
use std::{collections::BTreeMap, sync::Arc};

impl Hall {
    /// Where connections are really from.
    pub(crate) fn came_from(&mut self, from: Address, origin: Option<Origin>) {
        if let Some(origin) = origin {
            self.origins.insert(from, origin);
        }
    }
    /// Where somebody's connections are really from.
    pub(crate) fn origins_of(&self, who: Who) -> impl Iterator<Item = &Origin> {
        let links = self.user(who).into_iter().flat_map(|user| &user.clients);
        links.filter_map(|link| self.origins.get(&link.at))
    }
    /// Where one connection is really from.
    pub(crate) fn origin(&self, at: Address) -> Option<&Origin> {
        self.origins.get(&at)
    }
    /// Whether somebody is an operator who may do this.
    pub(crate) fn may(&self, who: Who, what: Privilege) -> bool {
        self.oper_class(who).is_some_and(|class| class.may(what))
    }
    pub(crate) fn oper_class(&self, who: Who) -> Option<OperClass> {
        self.user(who)?.oper.as_ref().map(|oper| oper.class)
    }
    /// Somebody has become an operator of the server, or is none any more.
    pub(crate) fn set_oper(&mut self, oper: Option<Arc<Oper>>, tell: &mut Teller<'_>) {
        let changed = self.alter(tell.me, |user| {
            if oper.is_none() {
                user.modes.set(PersonModes::NOTICES, false);
            }
            (Arc::clone(&user.nick), std::mem::replace(&mut user.oper, oper.clone()))
        });
        let Some((nick, before)) = changed else { return };
        match (before, oper) {
            (_, Some(oper)) => {
                let text = format!("{nick} is an operator now ({}, {})", oper.name, oper.class.name());
                self.notify(&text, tell);
                if !oper.vhost.is_empty() {
                    self.set_host(Some(&oper.vhost), tell);
                }
            }
            (Some(oper), None) => self.tell_demoted(&oper, tell),
            (None, None) => {}
        }
    }
    /// Takes their power away from those operators who are not among `known` as they are. They are told by their sessions
    /// ([`Self::tell_demoted`]).
    pub(crate) fn demote(&mut self, known: &[Oper]) -> BTreeMap<Who, Arc<Oper>> {
        let opers = self.users().filter_map(|(who, user)| Some((who, Arc::clone(user.oper.as_ref()?))));
        let gone: BTreeMap<Who, Arc<Oper>> = opers.filter(|(_, oper)| !known.contains(oper)).collect();
        for who in gone.keys() {
            self.alter(*who, |user| {
                user.modes.set(PersonModes::NOTICES, false);
                user.oper = None;
            });
        }
        gone
    }
    /// Tells the others of somebody who was `oper`, and shows him by his own host again.
    pub(crate) fn tell_demoted(&mut self, oper: &Oper, tell: &mut Teller<'_>) {
        let Some(user) = self.user(tell.me) else { return };
        let (nick, has_its_host) = (Arc::clone(&user.nick), *user.host == *oper.vhost);
        self.notify(&format!("{nick} is no operator any more"), tell);
        if has_its_host {
            let host = self.host_of_account(self.user(tell.me).and_then(|user| user.account.as_deref()));
            self.set_host(host.as_deref(), &mut tell.on_behalf_of(tell.me));
        }
    }
    /// Tells other operators who want to hear of it.
    pub(crate) fn notify(&mut self, text: &str, tell: &mut Teller<'_>) {
        let heard: Vec<(Who, Arc<str>)> = self
            .users()
            .filter(|(who, user)| *who != tell.me && user.modes.has(PersonModes::NOTICES))
            .map(|(who, user)| (who, Arc::clone(&user.nick)))
            .collect();
        for (who, to) in heard {
            let text = format!("*** {text}").into();
            let what = What::Said { verb: Verb::Notice, to, text, lines: Box::default() };
            let news = News::new(self.log.next(), None, Arc::clone(&self.server), tell.at, what);
            self.post(who, &Arc::new(news), tell);
        }
    }
    /// Says something to all who want to hear what operators say to all. How often the one who says it is told of it.
    pub(crate) fn wallops(&mut self, text: &str, tell: &mut Teller<'_>) -> usize {
        let Some(source) = self.user(tell.me).map(|user| Arc::clone(&user.source)) else { return 0 };
        let news = self.news(source, What::Wallops { text: text.into() }, tell);
        let hears = |(who, user): (Who, &super::User)| user.modes.has(PersonModes::WALLOPS).then_some(who);
        let heard: Vec<Who> = self.users().filter_map(hears).collect();
        for who in &heard {
            self.post(*who, &news, tell);
        }
        usize::from(heard.contains(&tell.me))
    }
    /// Tells somebody that modes of his own have changed.
    pub(crate) fn tell_own_modes(&mut self, changes: &str, tell: &mut Teller<'_>) {
        let Some(user) = self.user(tell.me) else { return };
        let (target, source) = (Arc::clone(&user.nick), Arc::clone(&user.source));
        let news = self.news(source, What::Moded { target, changes: changes.to_owned() }, tell);
        self.post(tell.me, &news, tell);
    }
    /// Puts somebody out of the server: his connections are told why and end, and he is no more.
    pub(crate) fn kill(&mut self, whom: Who, why: &str, tell: &mut Teller<'_>) {
        let why = cut(why, self.limits.reason_bytes_max);
        let links = self.user(whom).map(|user| user.clients.iter().map(|link| link.at).collect()).unwrap_or_default();
        self.expel(links, why, tell);
        self.remove(why, &mut tell.on_behalf_of(whom));
    }
    /// Puts out all who are logged in to an account.
    pub(crate) fn kill_all_of(&mut self, account: &str, why: &str, tell: &mut Teller<'_>) {
        for who in self.all_of(account) {
            self.kill(who, why, tell);
        }
    }
    /// Ends connections.
    pub(crate) fn expel(&mut self, links: Vec<Address>, why: &str, tell: &mut Teller<'_>) {
        let news = Arc::new(News::new(
            self.log.next(),
            None,
            Arc::clone(&self.server),
            tell.at,
            What::Expelled { why: why.into() },
        ));
        for link in links {
            tell.host.post(link, Mail::told(None, Arc::clone(&news)));
        }
    }

    // Bans.

    /// Takes the bans over from the books, where they are changed.
    pub(crate) fn read_bans(&mut self) {
        let Self { bans, books, .. } = self;
        bans.read(books.bans());
    }
    /// The ban that keeps out who calls himself so and comes from there.
    pub(crate) fn ban_against(&self, source: &str, origin: Option<&Origin>, at: Wall) -> Option<&Ban> {
        self.bans.against(&Candidate { source: &names::fold(source), origin }, at)
    }
    /// The ban that keeps somebody who is here from being called so.
    pub(crate) fn ban_against_nick(&self, who: Who, nick: &str, at: Wall) -> Option<&Ban> {
        let user = self.user(who)?;
        // By the cloak, too: nobody escapes a ban by the host that he has been given.
        [&user.host, &user.cloak].into_iter().find_map(|host| {
            let source = format!("{nick}!{}@{host}", user.user);
            let by_name = self.ban_against(&source, None, at);
            by_name.or_else(|| self.origins_of(who).find_map(|origin| self.ban_against(&source, Some(origin), at)))
        })
    }
    /// Puts out whoever a ban covers that has been set, but for one who is to be told of it first.
    pub(crate) fn enforce(&mut self, mask: &str, but: Option<Who>, tell: &mut Teller<'_>) {
        let Some(ban) = self.bans.all(tell.at).find(|ban| *ban.record.mask == *mask).cloned() else { return };
        let is_meant = |who: Who| but != Some(who) && self.is_covered(&ban, who);
        let covered: Vec<Who> = self.users().map(|(who, _)| who).filter(|who| is_meant(*who)).collect();
        let why = format!("You are banned from this server ({})", ban.record.reason);
        for who in &covered {
            self.kill(*who, &why, tell);
        }
    }
    /// Whether a ban covers somebody who is here, by any of his connections.
    pub(crate) fn is_covered(&self, ban: &Ban, who: Who) -> bool {
        let Some(user) = self.user(who) else { return false };
        let sources = [Some(&user.folded), user.behind.as_ref()];
        let mut sources = sources.into_iter().flatten();
        let by_name = sources.any(|source| ban.covers(&Candidate { source, origin: None }));
        let by_origin = |origin| ban.covers(&Candidate { source: &user.folded, origin: Some(origin) });
        by_name || self.origins_of(who).any(by_origin)
    }

    // What operators make others do.

    /// Puts somebody into a room, whatever it allows.
    pub(crate) fn force_in(&mut self, whom: Who, room: &str, tell: &mut Teller<'_>) -> Result<(), Refusal> {
        self.sit_down(room, &mut tell.on_behalf_of(whom)).map(|_| ())
    }
}
