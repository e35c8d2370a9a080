//! The sections of a configuration file, setting by setting.

use sotong_chat::{ChatLimits, ListenerKind};
use sotong_http::{HttpLimits, ws::WsLimits};
use sotong_session::Limits as DriverLimits;
use sotong_session::cidr::Cidr;

use super::section::section;
use super::setting::{
    Bytes, Count, Lines, Located, NETWORK, Named, OneOf, Origin, Pin, Place, ROOM, SERVER, Secret, Time, UserModes,
    Vhost, Word, choice,
};

section! {
    /// What stands before the first heading.
    Top must [] {
        data_dir: Located = Located::default();
    }
}

choice! {
    /// Which letters are one: those of ASCII, for all others are told apart.
    CaseMapping { Ascii = "ascii" }
}

section! {
    /// `[server]`
    Server must [] {
        name: Named<SERVER> = Named("sotong.local".to_owned());
        network: Named<NETWORK> = Named("Sotong".to_owned());
        description: String = String::new();
        lobby: Named<ROOM> = Named("#lobby".to_owned());
        password: Secret = Secret::default();
        casemapping: OneOf<CaseMapping> = OneOf(CaseMapping::Ascii);
        motd: Lines = Lines::default();
        motd_file: Located = Located::default();
        cloak_addresses: bool = true;
        resolve_hostnames: bool = false;
        check_ident: bool = false;
        allowed_origins: Vec<Origin> = Vec::new();
        proxy_allowed_from: Vec<Cidr> = own_machine();
        default_user_modes: UserModes = UserModes::default();
        relaymsg: bool = false;
        roleplay: bool = false;
    }
}

/// Both addresses of this machine.
fn own_machine() -> Vec<Cidr> {
    ["127.0.0.1", "::1"].iter().filter_map(|text| text.parse().ok()).collect()
}

section! {
    /// `[[listen]]`
    Listen must [address] {
        address: Place = Place::default();
        kind: OneOf<ListenerKind> = OneOf(ListenerKind::Auto);
        proxy: bool = false;
        tls: bool = false;
        tls_cert: Located = Located::default();
        tls_key: Located = Located::default();
    }
}

choice! {
    /// Whether somebody keeps nick and seats while no client is there.
    AlwaysOnChoice { Off = "off", OptIn = "opt-in", OptOut = "opt-out", Mandatory = "mandatory" }
}

choice! {
    /// What a password's hash costs.
    HashCostChoice { Default = "default", Test = "test" }
}

section! {
    /// `[accounts]`
    Accounts must [] {
        register: bool = true;
        register_before_connect: bool = true;
        email_required: bool = false;
        nick_is_account: bool = true;
        multiclient: bool = true;
        always_on: OneOf<AlwaysOnChoice> = OneOf(AlwaysOnChoice::OptIn);
        password_hash_cost: OneOf<HashCostChoice> = OneOf(HashCostChoice::Default);
        login_attempts: Count<0, 1_000_000> = Count(3);
    }
}

section! {
    /// `[sts]`
    Sts must [] {
        enabled: bool = false;
        port: Count<1, 65_535> = Count(6697);
        duration: Time<true> = Time::seconds(30 * 86_400);
        preload: bool = false;
    }
}

choice! {
    /// When a message counts as kept.
    Durability { Durable = "durable", Relaxed = "relaxed" }
}

section! {
    /// `[history]`
    History must [] {
        enabled: bool = true;
        durability: OneOf<Durability> = OneOf(Durability::Durable);
        chathistory_max: Count<1, 1_000> = Count(100);
        znc_max: Count<0, 100_000> = Count(2048);
        redact_own: bool = true;
        store_tagmsg: Vec<String> = vec!["+draft/react".to_owned()];
        keep_days: Count<0, 36_500> = Count(7);
        keep_messages: Count<0, 1_000_000_000> = Count(10_000);
    }
}

section! {
    /// `[metadata]`
    Metadata must [] {
        enabled: bool = true;
        max_subs: Count<0, 10_000> = Count(100);
        max_keys: Count<0, 10_000> = Count(1000);
        before_connect: bool = true;
    }
}

section! {
    /// `[limits]`
    Limits must [] {
        nick_len: Count<1, 64> = Count(32);
        channel_len: Count<2, 128> = Count(64);
        topic_len: Count<1, 390> = Count(390);
        kick_len: Count<1, 390> = Count(390);
        away_len: Count<1, 390> = Count(200);
        realname_len: Count<1, 390> = Count(150);
        key_len: Count<1, 100> = Count(32);
        list_modes: Count<0, 10_000> = Count(60);
        modes: Count<0, 100> = Count(20);
        targets: Count<0, 100> = Count(4);
        channels: Count<0, 100_000> = Count(100);
        monitor: Count<0, 10_000> = Count(100);
        whowas: Count<0, 100_000> = Count(100);
        multiline_bytes: Count<512, 65_536> = Count(4096);
        multiline_lines: Count<0, 1_000> = Count(32);
        receive_queue_bytes: Bytes<4_608, 1_048_576> = Bytes(ChatLimits::default().receive_queue_bytes_max);
        send_queue_low_bytes: Bytes<1_024, 1_073_741_824> = Bytes(DriverLimits::default().marks.low);
        send_queue_high_bytes: Bytes<16_384, 1_073_741_824> = Bytes(DriverLimits::default().marks.high);
        send_queue_bytes: Bytes<131_072, 1_073_741_824> = Bytes(DriverLimits::default().marks.hard);
        memory_bytes: Bytes<0, 1_099_511_627_776> = Bytes(DriverLimits::default().memory_max);
        stall_time: Time<false> = Time(DriverLimits::default().stall);
        drain_time: Time<false> = Time(DriverLimits::default().drain);
        flood_control: bool = true;
        commands_at_once: Count<0, 1_000> = Count(5);
        command_time: Time<true> = Time::milliseconds(500);
        connections: Count<0, 1_048_576> = Count(16_384);
        connections_per_address: Count<0, 1_048_576> = Count(16);
        new_connections_per_address: Count<0, 100_000> = Count(32);
        new_accounts_per_address: Count<0, 100_000> = Count(30);
        accounts_max: Count<0, 1_000_000_000> = Count(100_000);
        registered_rooms_max: Count<0, 1_000_000_000> = Count(20_000);
        rooms_per_account_max: Count<0, 1_000_000_000> = Count(15);
        certs_per_account_max: Count<0, 1_000> = Count(10);
        password_bytes: Bytes<8, 400> = Bytes(ChatLimits::default().password_bytes_max);
        log_bytes: Bytes<65_536, 1_099_511_627_776> = Bytes(ChatLimits::default().log_bytes_max);
        registration_time: Time<true> = Time(ChatLimits::default().registration);
        lookup_time: Time<false> = Time(ChatLimits::default().lookup);
        registration_lines: Count<0, 10_000> = Count(64);
        ping_after: Time<true> = Time::seconds(90);
        cut_after: Time<true> = Time::seconds(150);
        held_answers: Count<1, 1_000> = Count(64);
        name_time: Time<true> = Time::seconds(60);
        name_tries: Count<0, 1_000> = Count(5);
        proxy_time: Time<true> = Time(ChatLimits::default().proxy_time);
        tls_handshake_time: Time<false> = Time::seconds(10);
        http_head_time: Time<true> = Time(HttpLimits::default().head_time);
        http_idle_time: Time<true> = Time(HttpLimits::default().idle);
        http_head_bytes: Bytes<1_024, 65_535> = Bytes(HttpLimits::default().head_bytes_max);
        http_target_bytes: Bytes<64, 65_535> = Bytes(HttpLimits::default().target_bytes_max);
        http_fields: Count<8, 100> = Count(100);
        websocket_upgrade_time: Time<true> = Time(WsLimits::default().upgrade);
        websocket_message_bytes: Bytes<4_608, 16_777_216> = Bytes(WsLimits::default().message_bytes_max);
        websocket_fragments: Count<0, 1_000_000> = Count(128);
        websocket_deflate: bool = false;
    }
}

section! {
    /// `[[webirc]]`
    Webirc must [allowed_from] {
        allowed_from: Vec<Cidr> = own_machine();
        password: Secret = Secret::default();
        certificate: Pin = Pin::default();
    }
}

choice! {
    /// What an operator may do.
    OperClassChoice { Admin = "admin", Moderator = "moderator", Helper = "helper" }
}

section! {
    /// `[[oper]]`
    Oper must [name] {
        name: Word = Word::default();
        password: Secret = Secret::default();
        certificate: Pin = Pin::default();
        class: OneOf<OperClassChoice> = OneOf(OperClassChoice::Admin);
        vhost: Vhost = Vhost::default();
    }
}
