//! Standard output and standard error, for whoever still reads them. Their macros stand here for those of the standard library, which
//! panic when nobody does: `luthier tune --json | head` has lost its reader and nothing else.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Prints on standard output, as that of the standard library does; a reader that has gone away is no error.
macro_rules! print {
    ($($words:tt)*) => { $crate::output::result(format_args!($($words)*)) };
}

/// The same as a line.
macro_rules! println {
    ($($words:tt)*) => { $crate::output::result(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints a line on standard error, if anybody reads it.
macro_rules! eprintln {
    ($($words:tt)*) => { $crate::output::message(format_args!("{}\n", format_args!($($words)*))) };
}

/// Writes a part of the result. What cannot be written for another reason than that nobody reads it, on a full disk say, ends the
/// program with an error: who looks at the exit code would take it for written.
pub(crate) fn result(words: Arguments<'_>) {
    let mut out = io::stdout().lock();
    match out.write_fmt(words).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            message(format_args!("error: cannot write to standard output: {error}\n"));
            std::process::exit(1);
        }
        Ok(()) | Err(_) => {}
    }
}

/// Writes what only tells of the work, which goes on without a reader.
pub(crate) fn message(words: Arguments<'_>) {
    let _unread = io::stderr().lock().write_fmt(words);
}
