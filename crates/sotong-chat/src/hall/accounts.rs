//! Who is logged in to which account.
use super::{Hall, Teller};
use crate::news::What;
use std::sync::Arc;

impl Hall {
    /// Somebody has proved that an account is his, or has left it. Told to all who are in a room with him, and to himself;
    /// true if that is a change.
    pub(crate) fn log_in(&mut self, account: Option<&Arc<str>>, tell: &mut Teller<'_>) -> bool {
        let Some(user) = self.users.get_mut(&tell.me).filter(|user| user.account.as_ref() != account) else {
            return false;
        };
        user.account = account.cloned();
        let source = Arc::clone(&user.source);
        let news = self.news(source, What::Account, tell);
        self.publish_to_rooms(&news, tell);
        self.post(tell.me, &news, tell);
        true
    }
}
