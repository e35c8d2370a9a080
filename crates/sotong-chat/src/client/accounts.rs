//! What logging in does to a client.
use super::{Stage, Talk};
use std::sync::Arc;

impl Talk<'_, '_> {
    /// The client has proved that this account is its owner's; with none it has left it. Whoever is not here yet takes it in
    /// with him. The news of it come to the client, too, after what has been answered until now.
    #[expect(dead_code, reason = "the sessions that check passwords call it")]
    pub(super) fn log_in(&mut self, account: Option<&Arc<str>>) {
        if let Stage::New(newcomer) = &mut self.client.stage {
            newcomer.account = account.cloned();
            return;
        }
        let (hall, mut tell) = self.teller();
        if hall.log_in(account, &mut tell) {
            self.client.answers.wait(1);
        }
    }
}
