//! The keys of the terminal as they are pressed, one by one and not shown. What they mean is not known here.

#![allow(unsafe_code)]

use std::time::Duration;

/// Standard input while it is read key by key; the terminal is as before when this is dropped. Ctrl-C and the like stay signals.
pub struct Keys {
    #[cfg(unix)]
    before: libc::termios,
}

#[cfg(unix)]
impl Keys {
    /// None if standard input is no terminal.
    pub fn open() -> Option<Self> {
        let mut before = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the pointer is to memory of this type, which the call fills in if it succeeds.
        if unsafe { libc::tcgetattr(0, before.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: the call has succeeded.
        let before = unsafe { before.assume_init() };
        let mut single = before;
        single.c_lflag &= !(libc::ICANON | libc::ECHO);
        single.c_cc[libc::VMIN] = 1;
        single.c_cc[libc::VTIME] = 0;
        set(&single).then_some(Self { before })
    }

    /// What has been typed, after at most `patience`: nothing if nobody has typed, none if the terminal is gone.
    pub fn read(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut input = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one structure, alive during the call.
        if unsafe { libc::poll(&raw mut input, 1, milliseconds) } < 1 {
            return Some(Vec::new());
        }
        let mut typed = vec![0_u8; 256];
        // SAFETY: as many bytes as there is room for.
        let count = unsafe { libc::read(0, typed.as_mut_ptr().cast(), typed.len()) };
        typed.truncate(usize::try_from(count).unwrap_or(0));
        (!typed.is_empty()).then_some(typed)
    }
}

#[cfg(unix)]
impl Drop for Keys {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = set(&self.before);
    }
}

#[cfg(unix)]
fn set(mode: &libc::termios) -> bool {
    // SAFETY: the structure came from tcgetattr.
    unsafe { libc::tcsetattr(0, libc::TCSADRAIN, mode) == 0 }
}

#[cfg(not(unix))]
impl Keys {
    /// Not on this system: lines have to be read.
    pub fn open() -> Option<Self> {
        None
    }

    /// Never called, since nothing opens.
    pub fn read(&self, _patience: Duration) -> Option<Vec<u8>> {
        None
    }
}
