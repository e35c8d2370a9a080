//! Whether this machine can run the model, and what is missing if not.
use super::ring::Ring;
use io_uring::{Probe, opcode};
use std::io;

/// What the `uring` model needs and this machine does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// The system forbids io_uring.
    #[error("io_uring_setup: operation not permitted (seccomp or kernel.io_uring_disabled)")]
    Forbidden,
    /// There is no io_uring at all.
    #[error("io_uring_setup: the kernel has no io_uring, or a sandbox hides it")]
    Absent,
    /// The memory that may be locked does not hold a ring.
    #[error("io_uring_setup: too little memory may be locked (ulimit -l)")]
    Memory,
    /// The kernel lacks something that came with a later version.
    #[error("the kernel lacks {0}")]
    Lacks(&'static str),
    /// The system refused for another reason, by its error number.
    #[error("io_uring: {}", io::Error::from_raw_os_error(*.0))]
    Refused(i32),
}

impl Missing {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            Some(libc::ENOSYS) => Self::Absent,
            Some(libc::ENOMEM) => Self::Memory,
            Some(libc::EINVAL) => Self::Lacks("rings and buffer rings of Linux 5.19"),
            Some(errno) => Self::Refused(errno),
            None => Self::Lacks("rings of buffers"),
        }
    }
}

/// Operations that the kernel can be asked about by number.
const OPERATIONS: [(u8, &str); 4] = [
    (opcode::PollAdd::CODE, "polling by io_uring"),
    (opcode::Send::CODE, "sending by io_uring"),
    (opcode::RecvMulti::CODE, "receiving by io_uring"),
    (opcode::AsyncCancel::CODE, "cancelling by io_uring"),
];

/// Whether the kernel allows io_uring and has all that the `uring` model needs (Linux 6.0, the later the better).
///
/// Makes a ring, receives a byte with it, and closes it.
///
/// # Errors
/// Names the first thing that is missing.
pub fn probe() -> Result<(), Missing> {
    let refused = |error: io::Error| Missing::of(&error);
    let mut ring = Ring::new(64 << 10).map_err(refused)?;
    let mut known = Probe::new();
    ring.uring().submitter().register_probe(&mut known).map_err(refused)?;
    for (code, name) in OPERATIONS {
        if !known.is_supported(code) {
            return Err(Missing::Lacks(name));
        }
    }
    let params = ring.uring().params();
    if !params.is_feature_nodrop() || !params.is_feature_ext_arg() || !params.is_feature_skip_cqe_on_success() {
        return Err(Missing::Lacks("features of Linux 5.17"));
    }
    ring.start().map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => Missing::Lacks("multishot receive (Linux 6.0)"),
        _ => Missing::of(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let of = |errno| Missing::of(&io::Error::from_raw_os_error(errno)).to_string();
        assert!(of(libc::EPERM).contains("operation not permitted (seccomp or kernel.io_uring_disabled)"));
        assert!(of(libc::ENOSYS).contains("no io_uring"));
        assert!(of(libc::ENOMEM).contains("ulimit -l"));
        assert!(of(libc::EINVAL).contains("5.19"));
        assert!(of(libc::EMFILE).contains("Too many open files"));
    }

    /// Forbids io_uring_setup to the calling thread, as containers do.
    fn forbid(errno: i32) {
        let code = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut filter = [
            code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
            code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
            code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the program and its instructions live through the calls, and concern this thread alone.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
        }
    }

    #[test]
    fn a_kernel_that_refuses_is_told_apart_from_one_that_lacks_it() {
        for (errno, missing) in [(libc::EPERM, Missing::Forbidden), (libc::ENOSYS, Missing::Absent)] {
            let probed = std::thread::spawn(move || {
                forbid(errno);
                probe()
            });
            assert_eq!(probed.join().unwrap(), Err(missing));
        }
    }
}
