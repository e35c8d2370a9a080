//! What the bare relay reads: see `relay.rs`.
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use crate::Relay;

impl Relay {
    /// One read a turn.
    pub(super) fn read(&mut self, at: usize, buffer: &mut [u8]) {
        let Some(conn) = &mut self.conns[at] else { return };
        let count = match recv(&conn.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((count @ 1.., _)) => count,
            Err(Errno::AGAIN) => return,
            Ok(_) | Err(_) => return self.close(at),
        };
        let mut partial = std::mem::take(&mut conn.partial);
        let mut came = &buffer[..count];
        while let Some(end) = memchr::memchr(b'\n', came) {
            let (line, rest) = came.split_at(end + 1);
            came = rest;
            if partial.is_empty() {
                self.line(at, line);
            } else {
                partial.extend_from_slice(line);
                self.line(at, &partial);
                partial.clear();
            }
        }
        partial.extend_from_slice(came);
        if let Some(conn) = &mut self.conns[at] {
            conn.partial = partial;
        }
    }

    /// One line, with its end.
    fn line(&mut self, at: usize, line: &[u8]) {
        let Self { conns, rooms, touched, said, .. } = self;
        if line.starts_with(b"PRIVMSG ") {
            let Some(sender) = &conns[at] else { return };
            let Some(room) = sender.room else { return };
            said.clear();
            said.extend_from_slice(&sender.source);
            said.extend_from_slice(line);
            for &member in &rooms[room] {
                if member != at
                    && let Some(conn) = &mut conns[member]
                {
                    conn.out.extend_from_slice(said);
                    if !std::mem::replace(&mut conn.is_touched, true) {
                        touched.push(member);
                    }
                }
            }
            return;
        }
        let line = line.trim_ascii_end();
        let (word, rest) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        let rest = rest.trim_ascii_start();
        let Some(conn) = &mut conns[at] else { return };
        match word {
            b"NICK" => {
                conn.nick = rest.to_vec();
                conn.source = [b":", rest, b"!u@h "].concat();
            }
            b"USER" => {
                conn.out.extend([b":relay 001 ", &*conn.nick, b" :Welcome\r\n"].concat());
                conn.out.extend([b":relay 422 ", &*conn.nick, b" :There is no MOTD\r\n"].concat());
            }
            b"PING" => conn.out.extend([b":relay PONG relay ", rest, b"\r\n"].concat()),
            b"JOIN" => return self.join(at, rest),
            b"QUIT" => {
                conn.out.extend_from_slice(b"ERROR :Goodbye\r\n");
                conn.is_over = true;
            }
            _ => {}
        }
        self.touch(at);
    }

    fn join(&mut self, at: usize, name: &[u8]) {
        let next = self.rooms.len();
        let room = *self.names.entry(name.to_vec()).or_insert(next);
        if room == next {
            self.rooms.push(Vec::new());
        }
        let Some(conn) = &mut self.conns[at] else { return };
        if conn.room.replace(room).is_some() {
            return;
        }
        let joined = [&*conn.source, b"JOIN ", name, b"\r\n"].concat();
        let end = [b":relay 366 ", &*conn.nick, b" ", name, b" :End of NAMES list\r\n"].concat();
        self.rooms[room].push(at);
        for &member in &self.rooms[room] {
            let Some(conn) = &mut self.conns[member] else { continue };
            conn.out.extend_from_slice(&joined);
            if !std::mem::replace(&mut conn.is_touched, true) {
                self.touched.push(member);
            }
        }
        if let Some(conn) = &mut self.conns[at] {
            conn.out.extend(end);
        }
    }
}
