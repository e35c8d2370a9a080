//! What of a configuration becomes which option.

use sotong_chat::{AccountOptions, ChatLimits, ChatOptions, Gateway, MetadataOptions, OperClass, Sts};
use sotong_http::{HttpLimits, ws::WsLimits};
use sotong_session::{Limits, Marks};

use super::{Config, Oper, Webirc, setting::Choice};

/// Modes that people can have from the beginning.
pub(super) const USER_MODES: &str = "BRTiw";

impl Config {
    /// The options of the chat; what is said of the server at start is `base`'s.
    pub(crate) fn chat_options(&self, base: ChatOptions) -> ChatOptions {
        let server = &self.server;
        ChatOptions {
            name: server.name.0.clone(),
            network: server.network.0.clone(),
            description: server.description.clone(),
            password: Some(server.password.0.clone()).filter(|password| !password.is_empty()),
            motd: self.motd.clone(),
            room: server.lobby.0.clone(),
            gateways: self.webirc.iter().map(Webirc::of_chat).collect(),
            opers: self.oper.iter().map(Oper::of_chat).collect(),
            cloak_addresses: server.cloak_addresses,
            resolve_hostnames: server.resolve_hostnames,
            check_ident: server.check_ident,
            relaymsg: server.relaymsg,
            roleplay: server.roleplay,
            default_user_modes: server.default_user_modes.0.clone(),
            allowed_origins: server.allowed_origins.iter().map(|origin| origin.0.as_str().into()).collect(),
            proxy_allowed_from: server.proxy_allowed_from.clone(),
            accounts: self.account_options(),
            metadata: MetadataOptions {
                enabled: self.metadata.enabled,
                max_subs: self.metadata.max_subs.or_none(),
                max_keys: self.metadata.max_keys.or_none(),
                before_connect: self.metadata.before_connect,
            },
            sts: self.sts_options(),
            limits: self.chat_limits(),
            ..base
        }
    }

    fn sts_options(&self) -> Option<Sts> {
        let sts = &self.sts;
        let port = u16::try_from(sts.port.0).ok().filter(|_| sts.enabled)?;
        Some(Sts { port, duration: sts.duration.0, preload: sts.preload })
    }

    fn account_options(&self) -> AccountOptions {
        let accounts = &self.accounts;
        AccountOptions {
            register: accounts.register,
            register_before_connect: accounts.register_before_connect,
            email_required: accounts.email_required,
            nick_is_account: accounts.nick_is_account,
            multiclient: accounts.multiclient,
            always_on: accounts.always_on.0.of_chat(),
            login_attempts: accounts.login_attempts.small(),
            password_hash_cost: accounts.password_hash_cost.0.of_chat(),
        }
    }

    fn chat_limits(&self) -> ChatLimits {
        let limits = &self.limits;
        ChatLimits {
            flood_control: limits.flood_control,
            burst: limits.commands_at_once.small_or_none(),
            command_time: limits.command_time.0,
            connections_per_address: limits.connections_per_address.size(),
            // Who may have any number of connections at once may make any number.
            new_connections_per_address: match limits.connections_per_address.0 {
                0 => 0,
                _ => limits.new_connections_per_address.size(),
            },
            new_accounts_per_address: limits.new_accounts_per_address.size(),
            receive_queue_bytes_max: limits.receive_queue_bytes.0,
            proxy_time: limits.proxy_time.or_none(),
            websocket: self.websocket_limits(),
            websocket_deflate: limits.websocket_deflate,
            registration: limits.registration_time.or_none(),
            lookup: limits.lookup_time.0,
            registration_lines_max: limits.registration_lines.small_or_none(),
            ping_after: limits.ping_after.or_none(),
            cut_after: limits.cut_after.or_none(),
            nick_chars_max: limits.nick_len.size(),
            room_chars_max: limits.channel_len.size(),
            topic_bytes_max: limits.topic_len.size(),
            reason_bytes_max: limits.kick_len.size(),
            away_bytes_max: limits.away_len.size(),
            real_bytes_max: limits.realname_len.size(),
            key_bytes_max: limits.key_len.size(),
            list_modes_max: limits.list_modes.or_none(),
            modes_max: limits.modes.or_none(),
            targets_max: limits.targets.or_none(),
            accounts_max: limits.accounts_max.or_none(),
            registered_rooms_max: limits.registered_rooms_max.or_none(),
            rooms_per_account_max: limits.rooms_per_account_max.or_none(),
            certs_per_account_max: limits.certs_per_account_max.or_none(),
            password_bytes_max: limits.password_bytes.0,
            rooms_max: limits.channels.or_none(),
            monitor_max: limits.monitor.or_none(),
            whowas_max: limits.whowas.size(),
            log_messages_max: self.history.keep_messages.or_none(),
            multiline_bytes_max: limits.multiline_bytes.size(),
            log_bytes_max: limits.log_bytes.0,
            multiline_lines_max: limits.multiline_lines.or_none(),
            held_answers_max: limits.held_answers.size(),
            name_time: limits.name_time.or_none(),
            name_tries_max: limits.name_tries.small_or_none(),
        }
    }

    fn websocket_limits(&self) -> WsLimits {
        let limits = &self.limits;
        let head = HttpLimits {
            head_bytes_max: limits.http_head_bytes.0,
            fields_max: limits.http_fields.size(),
            target_bytes_max: limits.http_target_bytes.0,
            head_time: limits.http_head_time.or_none(),
            idle: limits.http_idle_time.or_none(),
            ..HttpLimits::default()
        };
        WsLimits {
            message_bytes_max: limits.websocket_message_bytes.0,
            fragments_max: limits.websocket_fragments.or_none(),
            upgrade: limits.websocket_upgrade_time.or_none(),
            head,
            ..WsLimits::default()
        }
    }

    /// The limits of the driver, of which the file says some.
    pub(crate) fn driver_limits(&self) -> Limits {
        let limits = &self.limits;
        let marks = Marks {
            low: limits.send_queue_low_bytes.0,
            high: limits.send_queue_high_bytes.0,
            hard: limits.send_queue_bytes.0,
        };
        Limits {
            marks,
            memory_max: limits.memory_bytes.0,
            stall: limits.stall_time.0,
            drain: limits.drain_time.0,
            ..Limits::default()
        }
    }
}

impl Webirc {
    fn of_chat(&self) -> Gateway {
        Gateway {
            allowed_from: self.allowed_from.clone(),
            password: self.password.0.clone(),
            certificate: self.certificate.0.map(|pin| pin.to_string()).unwrap_or_default(),
        }
    }
}

impl Oper {
    fn of_chat(&self) -> sotong_chat::Oper {
        sotong_chat::Oper {
            name: self.name.0.clone(),
            password: self.password.0.clone(),
            certificate: self.certificate.0.map(|pin| pin.to_string()).unwrap_or_default(),
            class: OperClass::named(self.class.0.name()).unwrap_or_default(),
            vhost: self.vhost.0.clone(),
        }
    }
}
