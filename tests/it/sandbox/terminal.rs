//! The terminal of a sandbox.

use super::*;

/// A pseudo-terminal: the side of whoever types, and the side of the program.
fn pseudo_terminal() -> (fs::File, OwnedFd) {
    use rustix::pty::OpenptFlags;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let keyboard = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&keyboard).unwrap();
    rustix::pty::unlockpt(&keyboard).unwrap();
    let name = rustix::pty::ptsname(&keyboard, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
    (keyboard.into(), terminal)
}

/// Says whether the program is in the foreground of the terminal, then waits.
const FOREGROUND: &str = "import os, sys, time; sys.stdout.write('foreground %s\\n' % (os.tcgetpgrp(0) == os.getpgrp())); sys.stdout.flush(); open('/dev/tty').close(); time.sleep(1000)";

fn until(keyboard: &mut fs::File, words: &str) {
    let mut seen = String::new();
    while !seen.contains(words) {
        let mut bytes = [0; 256];
        let count = keyboard.read(&mut bytes).unwrap();
        seen += &String::from_utf8_lossy(&bytes[..count]);
    }
}

#[test]
fn the_terminal_of_a_sandbox_has_a_name_inside_and_takes_ctrl_c() {
    as_anyone(
        "the_terminal_of_a_sandbox_has_a_name_inside_and_takes_ctrl_c",
        || {
            let (_keyboard, terminal) = pseudo_terminal();
            let size = rustix::termios::Winsize {
                ws_row: 33,
                ws_col: 77,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            rustix::termios::tcsetwinsize(&terminal, size).unwrap();
            let script = "trap : INT; tty; stty size; exec 2>&1; python3 -I -c \"$0\"; echo $?; exec sleep 1000";
            let mut spec = spec(&["sh", "-c", script, FOREGROUND]);
            spec.terminal = Terminal {
                stdin: true,
                stdout: true,
                stderr: false,
            };
            let copy = || terminal.try_clone().unwrap();
            let streams = Streams {
                stdin: copy(),
                stdout: copy(),
                stderr: copy(),
            };
            let mut child = sandbox::launch(slug(), &spec, streams).unwrap();
            child.started().unwrap();
            let mut keyboard = fs::File::from(child.take_terminal().unwrap());
            until(&mut keyboard, "/dev/pts/0\r\n33 77\r\n");
            until(&mut keyboard, "foreground True");
            keyboard.write_all(b"\x1a\x03").unwrap();
            until(&mut keyboard, "130\r\n");
            keyboard.write_all(b"\x1c").unwrap();
            assert_eq!(child.wait().unwrap(), Exit::Signal(libc::SIGQUIT));
        },
    );
}

#[test]
fn a_program_cannot_type_into_the_terminal_of_its_caller() {
    as_anyone(
        "a_program_cannot_type_into_the_terminal_of_its_caller",
        || {
            let (_keyboard, terminal) = pseudo_terminal();
            let push = "import fcntl, termios\nfor fd in 0, 1, 2:\n try: fcntl.ioctl(fd, termios.TIOCSTI, b'x'); print('typed')\n except OSError as error: print(error.strerror, flush=True)\n";
            let (output, writer) =
                rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let streams = Streams {
                stdin: terminal.try_clone().unwrap(),
                stdout: writer,
                stderr: terminal,
            };
            let mut child =
                sandbox::launch(slug(), &spec(&["python3", "-I", "-c", push]), streams).unwrap();
            child.started().unwrap();
            let words = std::io::read_to_string(fs::File::from(output)).unwrap();
            assert_eq!(child.wait().unwrap(), Exit::Code(0), "{words}");
            assert!(!words.contains("typed"), "{words}");
        },
    );
}
