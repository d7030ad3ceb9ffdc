//! What supervision promises, tried on real processes. The oracle for "no process is left" is a number that only one
//! test uses, looked for in the environment and the arguments of every process of the machine.
//!
//! The tests bring their own `main`, because supervisors are this executable again.

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("skipped: these tests look into /proc, which only Linux has");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::ffi::OsString;
    use std::fs;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use luthier::process::{Exit, Launch, LaunchError, Process, ProcessTag, is_alive, supervisor};

    /// Selects what this executable does instead of running tests.
    const ROLE: &str = "PROCESS_TEST_ROLE";
    const MARKER: &str = "PROCESS_TEST_MARKER";
    /// The supervisor that tuners started by tests are to use, if not themselves.
    const SUPERVISOR: &str = "PROCESS_TEST_SUPERVISOR";
    /// How long something that must happen may take before the test gives up on it.
    const PATIENCE: Duration = Duration::from_mins(1);

    const TESTS: &[(&str, fn())] = &[
        ("the_exit_code_arrives", the_exit_code_arrives),
        ("death_by_a_signal_arrives", death_by_a_signal_arrives),
        ("both_outputs_arrive_whole", both_outputs_arrive_whole),
        ("outputs_nobody_reads_do_not_block", outputs_nobody_reads_do_not_block),
        ("arguments_arrive_byte_for_byte", arguments_arrive_byte_for_byte),
        ("variables_are_added_and_replaced", variables_are_added_and_replaced),
        ("a_path_in_the_environment_is_searched", a_path_in_the_environment_is_searched),
        ("the_working_directory_is_set", the_working_directory_is_set),
        ("standard_input_is_empty", standard_input_is_empty),
        ("standard_input_is_a_pipe_if_asked", standard_input_is_a_pipe_if_asked),
        ("launch_errors_name_what_is_wrong", launch_errors_name_what_is_wrong),
        (
            "a_script_without_interpreter_is_not_given_to_a_shell",
            a_script_without_interpreter_is_not_given_to_a_shell,
        ),
        ("other_executables_are_refused_as_supervisor", other_executables_are_refused_as_supervisor),
        ("an_executable_without_the_hook_does_not_start_itself_for_ever", an_executable_without_the_hook),
        ("the_command_has_a_session_of_its_own", the_command_has_a_session_of_its_own),
        ("the_command_starts_with_default_signals", the_command_starts_with_default_signals),
        ("a_polite_end_is_a_polite_end", a_polite_end_is_a_polite_end),
        ("children_have_the_grace_too", children_have_the_grace_too),
        ("a_stopped_command_hears_the_end", a_stopped_command_hears_the_end),
        ("terminate_is_heard_once", terminate_is_heard_once),
        ("terminate_ends_what_ignores_it_and_hides", terminate_ends_what_ignores_it_and_hides),
        ("kill_ends_what_ignores_it_and_hides", kill_ends_what_ignores_it_and_hides),
        ("a_killer_works_while_another_thread_waits", a_killer_works_while_another_thread_waits),
        ("dropping_the_process_ends_it", dropping_the_process_ends_it),
        ("what_the_command_leaves_behind_is_swept", what_the_command_leaves_behind_is_swept),
        ("a_daemon_that_keeps_the_output_open_does_not_block", a_daemon_that_keeps_the_output_open),
        ("a_chain_of_forks_is_caught", a_chain_of_forks_is_caught),
        ("a_thousand_short_orphans_are_reaped", a_thousand_short_orphans_are_reaped),
        ("the_memory_of_the_whole_tree_is_limited", the_memory_of_the_whole_tree_is_limited),
        ("memory_below_the_limit_is_only_reported", memory_below_the_limit_is_only_reported),
        ("processor_time_is_reported", processor_time_is_reported),
        ("processes_do_not_hold_each_others_pipes", processes_do_not_hold_each_others_pipes),
        ("nothing_of_the_tuner_is_inherited", nothing_of_the_tuner_is_inherited),
        ("waiting_with_a_timeout_returns", waiting_with_a_timeout_returns),
        ("nothing_survives_a_killed_supervisor", nothing_survives_a_killed_supervisor),
        ("a_supervisor_asked_to_end_ends_its_command", a_supervisor_asked_to_end_ends_its_command),
        ("nothing_survives_a_killed_tuner", nothing_survives_a_killed_tuner),
        ("nothing_survives_a_tuner_killed_at_any_moment", nothing_survives_a_tuner_killed_at_any_moment),
        ("nothing_survives_a_killed_tuner_whose_socket_is_held_open", nothing_survives_a_held_socket),
        ("nothing_survives_a_killed_tuner_behind_a_wrapper", nothing_survives_behind_a_wrapper),
        ("the_tag_of_a_killed_tuner_is_dead", the_tag_of_a_killed_tuner_is_dead),
    ];

    pub(crate) fn main() {
        let role = std::env::var(ROLE).unwrap_or_default();
        if role != "careless" {
            supervisor::run_if_asked();
        }
        match role.as_str() {
            "" => run_tests(),
            "careless" => std::process::exit(careless()),
            "tuner" => tuner(false),
            "forking tuner" => tuner(true),
            "arguments" => arguments(),
            "memory" => memory(),
            other => panic!("no role {other}"),
        }
    }

    // ---- Roles that this executable plays for its tests ----

    /// Launches several copies of a script and waits to be killed, before that perhaps forks without executing anything.
    fn tuner(forks: bool) {
        let args: Vec<String> = std::env::args().collect();
        let copies: usize = args[1].parse().expect("a number");
        println!("{}", serde_json::to_string(&ProcessTag::of_this_process()).expect("plain data"));
        let running: Vec<Process> = (0..copies).map(|_| shell(&args[2]).start().expect("starts")).collect();
        for process in &running {
            wait_for_line(process, "ready");
        }
        if forks {
            println!("{}", fork());
        }
        println!("ready");
        loop {
            std::thread::sleep(PATIENCE);
        }
    }

    /// The process id of a copy of this process, which sleeps and so holds what is open here.
    #[allow(unsafe_code)]
    fn fork() -> i32 {
        // SAFETY: the child only makes async-signal-safe calls.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                loop {
                    libc::pause();
                }
            }
            child
        }
    }

    /// A program that names itself as supervisor and does not call the hook.
    fn careless() -> i32 {
        let mut launch = Launch::new("true");
        launch.supervisor = Some(this_program());
        match launch.start() {
            Err(LaunchError::NotASupervisor { .. }) => 3,
            Err(LaunchError::NoSupervisor) => 4,
            _ => 5,
        }
    }

    fn arguments() {
        for arg in std::env::args_os().skip(1) {
            println!("{:02x?}", arg.into_vec());
        }
    }

    /// Holds so many MiB here and in each of so many children, touching every page, for so many milliseconds.
    fn memory() {
        let args: Vec<usize> = std::env::args().skip(1).map(|arg| arg.parse().expect("a number")).collect();
        let held = vec![1_u8; args[0] << 20];
        let child = || {
            Command::new(this_program())
                .args([args[0], 0, args[2]].map(|n| n.to_string()))
                .spawn()
                .expect("starts")
        };
        let mut children: Vec<Child> = (0..args[1]).map(|_| child()).collect();
        println!("ready {}", held.iter().map(|byte| usize::from(*byte)).sum::<usize>());
        std::thread::sleep(Duration::from_millis(args[2] as u64));
        for child in &mut children {
            child.wait().expect("is ours");
        }
    }

    // ---- The tests ----

    fn the_exit_code_arrives() {
        for code in [0, 1, 7, 255] {
            let ended = shell(&format!("exit {code}")).start().expect("starts").wait();
            assert_eq!(ended.status, Exit::Code(code));
            assert_eq!((ended.memory_exceeded, ended.swept, ended.left), (false, 0, 0));
        }
    }

    fn death_by_a_signal_arrives() {
        assert_eq!(shell("kill -SEGV $$").start().expect("starts").wait().status, Exit::Signal(11));
        assert_eq!(shell("kill -KILL $$").start().expect("starts").wait().status, Exit::Signal(9));
    }

    fn both_outputs_arrive_whole() {
        let process = shell("head -c 3000000 /dev/zero; echo problem >&2").start().expect("starts");
        let stderr = process.take_stderr().expect("not taken yet");
        let errors = std::thread::spawn(move || read_all(stderr));
        assert_eq!(read_all(process.take_stdout().expect("not taken yet")).len(), 3_000_000);
        assert_eq!(errors.join().expect("no panic"), b"problem\n");
        assert!(process.take_stdout().is_none());
        assert_eq!(process.wait().status, Exit::Code(0));
    }

    fn outputs_nobody_reads_do_not_block() {
        let process =
            shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2").start().expect("starts");
        assert_eq!(process.wait().status, Exit::Code(0));
    }

    fn arguments_arrive_byte_for_byte() {
        let args: Vec<OsString> = [
            b"a b".as_slice(),
            b"",
            b"-rf",
            b"--",
            b"$(touch x)",
            b"`id`",
            b"'\"\\",
            b";&|<>*?~#!",
            b"new\nline\ttab",
            b"{lr}",
            b"%PATH%",
            "\u{202e}\u{1f600}".as_bytes(),
            b"\xff\xfe\x80",
            b"__supervise",
        ]
        .into_iter()
        .map(|bytes| OsString::from_vec(bytes.to_vec()))
        .collect();
        let mut launch = role("arguments");
        launch.args.clone_from(&args);
        let process = launch.start().expect("starts");
        let expected: Vec<String> = args.into_iter().map(|arg| format!("{:02x?}", arg.into_vec())).collect();
        assert_eq!(output(&process).lines().collect::<Vec<_>>(), expected);
        assert_eq!(process.wait().status, Exit::Code(0));
    }

    fn variables_are_added_and_replaced() {
        let mut launch = shell("echo \"$NEW|$HOME|${LUTHIER_SUPERVISOR_OF-none}\"");
        launch.env.extend(
            [("NEW", "first"), ("NEW", "a=b; c"), ("HOME", "/x y")].map(|(n, v)| (n.into(), v.into())),
        );
        assert_eq!(output(&launch.start().expect("starts")), "a=b; c|/x y|none\n");
    }

    fn a_path_in_the_environment_is_searched() {
        let dir = tempfile::tempdir().expect("a directory");
        executable(&dir.path().join("only-here"), b"#!/bin/sh\necho found $1\n");
        let mut launch = Launch::new("only-here");
        launch.args = vec!["it".into()];
        launch.env.push(("PATH".into(), format!("{}:/usr/bin:/bin", dir.path().display()).into()));
        assert_eq!(output(&launch.start().expect("starts")), "found it\n");
    }

    fn the_working_directory_is_set() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut launch = shell("pwd -P");
        launch.working_dir = Some(dir.path().to_owned());
        let real = dir.path().canonicalize().expect("exists");
        assert_eq!(output(&launch.start().expect("starts")).trim_end(), real.to_str().expect("plain"));
    }

    fn standard_input_is_empty() {
        let process = Launch::new("cat").start().expect("starts");
        assert!(process.take_stdin().is_none());
        assert_eq!(output(&process), "");
        assert_eq!(process.wait().status, Exit::Code(0));
    }

    fn standard_input_is_a_pipe_if_asked() {
        let mut launch = Launch::new("cat");
        launch.pipe_stdin = true;
        let process = launch.start().expect("starts");
        let mut stdin = process.take_stdin().expect("was asked for");
        stdin.write_all(b"through").expect("cat reads");
        drop(stdin);
        assert_eq!(output(&process), "through");
        assert_eq!(process.wait().status, Exit::Code(0));
    }

    fn launch_errors_name_what_is_wrong() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("plain"), "#!/bin/sh\n").expect("writable");
        executable(&path("foreign"), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xff\xff\x01\0\0\0");
        executable(&path("orphan"), b"#!/nowhere/to/be/found\n");
        let check = |launch: Launch, expected: &str, variant: fn(&LaunchError) -> bool| {
            let error = launch.start().expect_err("cannot start");
            assert!(variant(&error), "{error:?}");
            assert!(error.to_string().contains(expected), "{error} should contain {expected}");
            assert!(!error.is_temporary());
        };
        let missing = |error: &LaunchError| matches!(error, LaunchError::NotFound { .. });
        check(Launch::new("no-such-program-4711"), "`no-such-program-4711` was not found in PATH (", missing);
        check(Launch::new("./no/such/program"), "`./no/such/program` was not found;", missing);
        check(Launch::new(path("plain")), "chmod +x", |e| matches!(e, LaunchError::NotExecutable { .. }));
        check(Launch::new(dir.path()), "may not be executed", |e| {
            matches!(e, LaunchError::NotExecutable { .. })
        });
        check(Launch::new(path("foreign")), "foreign", |e| matches!(e, LaunchError::WrongFormat { .. }));
        check(Launch::new(path("orphan")), "#!", |e| matches!(e, LaunchError::InterpreterMissing { .. }));
        let mut long = Launch::new("true");
        long.args = vec!["x".repeat(3 << 20).into()];
        check(long, "3145729 bytes", |e| matches!(e, LaunchError::ArgumentsTooLong { .. }));
        let mut lost = Launch::new("true");
        lost.working_dir = Some("/no/such/directory".into());
        check(lost, "/no/such/directory", |e| matches!(e, LaunchError::WorkingDir { .. }));
        let mut nul = Launch::new("true");
        nul.args = vec!["fine".into(), "a\0b".into()];
        check(nul, "argument 2", |e| matches!(e, LaunchError::Text { .. }));
        let mut name = Launch::new("true");
        name.env = vec![("A=B".into(), "c".into())];
        check(name, "`A=B`", |e| matches!(e, LaunchError::Text { .. }));
        check(Launch::new(""), "program's name", |e| matches!(e, LaunchError::Text { .. }));
    }

    fn a_script_without_interpreter_is_not_given_to_a_shell() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = dir.path().join("script");
        executable(&script, b"exit 5\n");
        let error = Launch::new(script).start().expect_err("is no program");
        assert!(matches!(error, LaunchError::WrongFormat { .. }), "{error:?}");
    }

    fn other_executables_are_refused_as_supervisor() {
        let mut launch = Launch::new("true");
        launch.supervisor = Some("/bin/echo".into());
        let error = launch.start().expect_err("echo supervises nobody");
        assert!(matches!(error, LaunchError::NotASupervisor { .. }), "{error:?}");
        launch.supervisor = Some("/no/such/supervisor".into());
        let error = launch.start().expect_err("is not there");
        assert!(matches!(error, LaunchError::Supervisor { .. }), "{error:?}");
        assert!(error.to_string().contains("/no/such/supervisor"), "{error}");
    }

    fn an_executable_without_the_hook() {
        let status = Command::new(this_program()).env(ROLE, "careless").status().expect("starts");
        assert_eq!(status.code(), Some(3));
    }

    fn the_command_has_a_session_of_its_own() {
        let process = shell("echo ready; sleep 1000").start().expect("starts");
        wait_for_line(&process, "ready");
        let group_and_session = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("runs");
            let fields: Vec<u32> = stat
                .rsplit(')')
                .next()
                .expect("some")
                .split(' ')
                .skip(3)
                .take(2)
                .map(|f| f.parse().expect("id"))
                .collect();
            (fields[0], fields[1])
        };
        let own = group_and_session(std::process::id());
        assert_eq!(group_and_session(process.pid()), (process.pid(), process.pid()));
        assert_ne!(group_and_session(process.supervisor_pid().expect("on Unix")).0, own.0);
    }

    fn the_command_starts_with_default_signals() {
        // The test's own process ignores SIGPIPE, as every Rust program does; `yes` must die of it all the same.
        let process = Launch::new("grep").start_with(&["-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
        for line in output(&process).lines() {
            let signals =
                u64::from_str_radix(line.rsplit('\t').next().expect("a field"), 16).expect("a mask");
            // Signals 32 and 33 belong to the C library, which lets nobody change them.
            assert_eq!(signals & !(0b11 << 31), 0, "{line}");
        }
        let process = Launch::new("yes").start().expect("starts");
        drop(process.take_stdout());
        assert_eq!(process.wait().status, Exit::Signal(13));
    }

    fn a_polite_end_is_a_polite_end() {
        let mut launch = shell("trap 'exit 42' TERM; echo ready; while :; do sleep 0.01; done");
        launch.grace = Duration::MAX;
        let process = launch.start().expect("starts");
        wait_for_line(&process, "ready");
        process.terminate();
        assert_eq!(process.wait_timeout(Duration::MAX).expect("asked to end").status, Exit::Code(42));
    }

    fn children_have_the_grace_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let saved = dir.path().join("saved");
        // The outer shell dies at once; the inner one still has to save its work.
        let script = format!(
            "sh -c 'trap \"sleep 0.3; echo saved > {}; exit 0\" TERM; echo ready; while :; do sleep 0.01; done' & wait",
            saved.display()
        );
        let process = shell(&script).start().expect("starts");
        wait_for_line(&process, "ready");
        process.terminate();
        assert_eq!(process.wait().status, Exit::Signal(15));
        assert_eq!(fs::read_to_string(saved).expect("was saved"), "saved\n");
    }

    fn a_stopped_command_hears_the_end() {
        let process =
            shell("trap 'exit 42' TERM; echo ready; kill -STOP $$; sleep 1000").start().expect("starts");
        wait_for_line(&process, "ready");
        process.terminate();
        assert!(matches!(process.wait().status, Exit::Code(42)));
    }

    fn terminate_is_heard_once() {
        let script = "n=0; trap 'n=$((n+1))' TERM; echo ready; until [ $n -gt 0 ]; do sleep 0.01; done; \
                      i=0; while [ $i -lt 30 ]; do i=$((i+1)); sleep 0.01; done; exit $n";
        let process = shell(script).start().expect("starts");
        wait_for_line(&process, "ready");
        for _ in 0..3 {
            process.terminate();
        }
        assert_eq!(process.wait().status, Exit::Code(1));
    }

    fn terminate_ends_what_ignores_it_and_hides() {
        let Some((marker, mut launch)) = stubborn() else { return };
        launch.grace = Duration::from_millis(300);
        let process = launch.start().expect("starts");
        wait_for_line(&process, "ready");
        assert!(marked(&marker).len() >= 5, "the script hides at least five processes");
        process.terminate();
        let ended = process.wait();
        assert_eq!(marked(&marker), HashSet::new());
        assert_eq!((ended.status, ended.left), (Exit::Signal(9), 0));
        assert!(ended.swept >= 4, "{ended:?}");
    }

    fn kill_ends_what_ignores_it_and_hides() {
        let Some((marker, launch)) = stubborn() else { return };
        let process = launch.start().expect("starts");
        wait_for_line(&process, "ready");
        process.kill();
        assert_eq!(process.wait().status, Exit::Signal(9));
        assert_eq!(marked(&marker), HashSet::new());
        process.kill();
        process.terminate();
    }

    fn a_killer_works_while_another_thread_waits() {
        let process = shell("echo ready; sleep 1000").start().expect("starts");
        wait_for_line(&process, "ready");
        let killer = process.killer();
        std::thread::scope(|scope| {
            let waits = [scope.spawn(|| process.wait()), scope.spawn(|| process.wait())];
            killer.kill();
            for wait in waits {
                assert_eq!(wait.join().expect("no panic").status, Exit::Signal(9));
            }
        });
    }

    fn dropping_the_process_ends_it() {
        let Some((marker, launch)) = stubborn() else { return };
        let process = launch.start().expect("starts");
        wait_for_line(&process, "ready");
        let killer = process.killer();
        drop(process);
        assert_none_left(&marker);
        killer.terminate();
    }

    fn what_the_command_leaves_behind_is_swept() {
        let Some((marker, mut launch)) = stubborn() else { return };
        let script = launch.args[1]
            .to_str()
            .expect("plain")
            .replace("while :; do sleep \"$S\"; done # last", "exit 3");
        launch.args[1] = script.into();
        let process = launch.start().expect("starts");
        let ended = process.wait();
        assert_eq!(marked(&marker), HashSet::new());
        assert_eq!((ended.status, ended.left), (Exit::Code(3), 0));
        assert!(ended.swept > 0, "{ended:?}");
    }

    fn a_daemon_that_keeps_the_output_open() {
        let (marker, mut launch) = marked_shell("echo result; sleep 1000 & exit 0");
        launch.grace = Duration::MAX;
        let process = launch.start().expect("starts");
        assert_eq!(output(&process), "result\n");
        assert_eq!(process.wait().status, Exit::Code(0));
        assert_eq!(marked(&marker), HashSet::new());
    }

    /// A process that replaces itself by a child all the time is never there when it is looked for.
    fn a_chain_of_forks_is_caught() {
        let dir = tempfile::tempdir().expect("a directory");
        let chain = dir.path().join("chain");
        for next in ["\"$0\"", "setsid \"$0\""] {
            executable(&chain, format!("#!/bin/sh\ntrap '' TERM\n{next} &\nexit 0\n").as_bytes());
            let (marker, mut launch) = marked_shell(&format!("{} & echo ready; sleep 1000", chain.display()));
            launch.grace = Duration::from_millis(50);
            let process = launch.start().expect("starts");
            wait_for_line(&process, "ready");
            process.terminate();
            let ended = process.wait();
            assert_eq!(ended.left, 0, "{next}");
            assert_eq!(marked(&marker), HashSet::new(), "{next}");
        }
    }

    fn a_thousand_short_orphans_are_reaped() {
        let script =
            "i=0; while [ $i -lt 1000 ]; do (true & true &); i=$((i+1)); done; echo ready; sleep 1000";
        let process = shell(script).start().expect("starts");
        wait_for_line(&process, "ready");
        let supervisor = process.supervisor_pid().expect("on Unix");
        let children =
            || fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).expect("it runs");
        eventually("only the command is left", || children().split_whitespace().count() == 1);
        process.kill();
        assert_eq!(process.wait().status, Exit::Signal(9));
    }

    fn the_memory_of_the_whole_tree_is_limited() {
        // Four times 60 MiB: no single process breaks the limit.
        let mut launch = role("memory");
        let marker = mark(&mut launch);
        launch.args = vec!["60".into(), "3".into(), "60000".into()];
        launch.memory_limit = Some(150 << 20);
        let ended = launch.start().expect("starts").wait();
        assert!(ended.memory_exceeded, "{ended:?}");
        assert_eq!(ended.status, Exit::Signal(9));
        assert!(ended.peak_memory.expect("known") > 150 << 20, "{ended:?}");
        assert_eq!(marked(&marker), HashSet::new());
    }

    fn memory_below_the_limit_is_only_reported() {
        let mut launch = role("memory");
        launch.args = vec!["60".into(), "1".into(), "300".into()];
        launch.memory_limit = Some(1 << 30);
        let ended = launch.start().expect("starts").wait();
        assert!(!ended.memory_exceeded, "{ended:?}");
        assert_eq!(ended.status, Exit::Code(0));
        let peak = ended.peak_memory.expect("known") >> 20;
        assert!((60..400).contains(&peak), "{peak} MiB");
    }

    fn processor_time_is_reported() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let ended = shell(script).start().expect("starts").wait();
        assert!(ended.cpu.expect("known") > Duration::from_millis(1), "{ended:?}");
    }

    fn processes_do_not_hold_each_others_pipes() {
        let mut launch = Launch::new("cat");
        launch.pipe_stdin = true;
        let first = launch.start().expect("starts");
        let second = shell("echo ready; sleep 1000").start().expect("starts");
        wait_for_line(&second, "ready");
        // `cat` ends when the last writer of its input is gone, and its output when the last holder of it is.
        drop(first.take_stdin());
        assert_eq!(output(&first), "");
        assert_eq!(first.wait().status, Exit::Code(0));
        assert_eq!(second.try_wait(), None);
    }

    fn nothing_of_the_tuner_is_inherited() {
        let script =
            "i=0; while [ $i -lt 64 ]; do [ -e /proc/$$/fd/$i ] && echo $i; i=$((i+1)); done; exit 0";
        let check = || {
            for _ in 0..5 {
                let process = shell(script).start().expect("starts");
                assert_eq!(output(&process), "0\n1\n2\n");
                process.wait();
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(check)).collect();
            for thread in threads {
                thread.join().expect("no panic");
            }
        });
    }

    fn waiting_with_a_timeout_returns() {
        let process = shell("sleep 1000").start().expect("starts");
        assert_eq!(process.wait_timeout(Duration::from_millis(20)), None);
        assert_eq!(process.try_wait(), None);
        process.kill();
        let ended = process.wait_timeout(PATIENCE).expect("killed");
        assert_eq!(process.try_wait(), Some(ended));
    }

    fn nothing_survives_a_killed_supervisor() {
        let Some((marker, launch)) = stubborn() else { return };
        let process = launch.start().expect("starts");
        wait_for_line(&process, "ready");
        send("KILL", process.supervisor_pid().expect("on Unix"));
        let ended = process.wait();
        assert_eq!(ended.status, Exit::SupervisorLost);
        // What scrubbed its environment and left the session is beyond the tuner's sight; the rest is not.
        let left: Vec<u32> =
            marked(&marker).into_iter().filter(|pid| holds_marker(*pid, "environ", &marker)).collect();
        assert_eq!(left, Vec::<u32>::new());
        assert!(ended.swept > 0, "{ended:?}");
        clean_up(&marker);
    }

    fn a_supervisor_asked_to_end_ends_its_command() {
        let (marker, launch) = marked_shell("trap 'exit 42' TERM; echo ready; while :; do sleep 0.01; done");
        let process = launch.start().expect("starts");
        wait_for_line(&process, "ready");
        send("TERM", process.supervisor_pid().expect("on Unix"));
        assert_eq!(process.wait().status, Exit::Code(42));
        assert_eq!(marked(&marker), HashSet::new());
    }

    fn nothing_survives_a_killed_tuner() {
        let Some((marker, launch)) = stubborn() else { return };
        let (mut tuner, mut lines) = start_tuner(&mut tuner_command("tuner", &marker, 4, &launch));
        assert!(lines.any(|line| line == "ready"), "the tuner started its commands");
        assert!(marked(&marker).len() > 4 * 5);
        tuner.kill().and_then(|()| tuner.wait()).expect("is ours");
        assert_none_left(&marker);
    }

    fn nothing_survives_a_tuner_killed_at_any_moment() {
        let Some((_, launch)) = stubborn() else { return };
        for moment in 0..20 {
            let marker = new_marker();
            let mut launch = launch.clone();
            replace_marker(&mut launch, &marker);
            let (mut tuner, lines) = start_tuner(&mut tuner_command("tuner", &marker, 4, &launch));
            std::thread::sleep(Duration::from_millis(moment * 6));
            tuner.kill().and_then(|()| tuner.wait()).expect("is ours");
            drop(lines);
            assert_none_left(&marker);
        }
    }

    /// A host that forks without executing, as Python's `multiprocessing` does, has copies that keep sockets open.
    fn nothing_survives_a_held_socket() {
        let Some((marker, launch)) = stubborn() else { return };
        let (mut tuner, mut lines) = start_tuner(&mut tuner_command("forking tuner", &marker, 2, &launch));
        let copy: u32 = lines.nth(1).expect("a line").parse().expect("a process id");
        assert!(lines.any(|line| line == "ready"), "the tuner started its commands");
        tuner.kill().and_then(|()| tuner.wait()).expect("is ours");
        eventually("only the copy is left", || marked(&marker) == HashSet::from([copy]));
        clean_up(&marker);
    }

    /// The supervisor's parent is the wrapper, which lives on: only the socket tells that the tuner is gone.
    fn nothing_survives_behind_a_wrapper() {
        let Some((marker, launch)) = stubborn() else { return };
        let dir = tempfile::tempdir().expect("a directory");
        let wrapper = dir.path().join("wrapper");
        executable(
            &wrapper,
            format!("#!/bin/sh\n'{}' \"$@\"\nexit $?\n", this_program().display()).as_bytes(),
        );
        let mut tuner = tuner_command("tuner", &marker, 2, &launch);
        let (mut tuner, mut lines) = start_tuner(tuner.env(SUPERVISOR, wrapper));
        assert!(lines.any(|line| line == "ready"), "the tuner started its commands");
        tuner.kill().and_then(|()| tuner.wait()).expect("is ours");
        assert_none_left(&marker);
    }

    fn the_tag_of_a_killed_tuner_is_dead() {
        let (marker, launch) = marked_shell("echo ready; sleep 1000");
        let (mut tuner, mut lines) = start_tuner(&mut tuner_command("tuner", &marker, 1, &launch));
        let tag: ProcessTag = serde_json::from_str(&lines.next().expect("a tag")).expect("a tag");
        assert_eq!(tag.pid, tuner.id());
        assert_eq!(is_alive(&tag), Some(true));
        tuner.kill().expect("is ours");
        eventually("the tuner is dead", || is_alive(&tag) == Some(false));
        let status = tuner.wait().expect("is ours");
        assert_eq!(status.signal(), Some(9));
        assert_none_left(&marker);
    }

    // ---- Programs for the tests ----

    trait StartWith {
        fn start_with(self, args: &[&str]) -> Process;
    }

    impl StartWith for Launch {
        fn start_with(mut self, args: &[&str]) -> Process {
            self.args = args.iter().map(OsString::from).collect();
            self.start().expect("starts")
        }
    }

    fn shell(script: &str) -> Launch {
        let mut launch = Launch::new("sh");
        launch.args = vec!["-c".into(), script.into()];
        launch.env = std::env::var_os(MARKER).map(|marker| (MARKER.into(), marker)).into_iter().collect();
        launch.supervisor = std::env::var_os(SUPERVISOR).map(PathBuf::from);
        launch
    }

    fn role(role: &str) -> Launch {
        let mut launch = Launch::new(this_program());
        launch.env = vec![(ROLE.into(), role.into())];
        launch
    }

    fn marked_shell(script: &str) -> (String, Launch) {
        let mut launch = shell(script);
        (mark(&mut launch), launch)
    }

    fn mark(launch: &mut Launch) -> String {
        let marker = new_marker();
        launch.env.push((MARKER.into(), marker.clone().into()));
        marker
    }

    /// Ignores SIGTERM and hides processes in every way a shell has: another session, a double fork, both, an empty
    /// environment. The marker is also part of the time they sleep, so it shows in their arguments.
    fn stubborn() -> Option<(String, Launch)> {
        if !Command::new("setsid").arg("true").status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: no `setsid` here");
            return None;
        }
        let script = "trap '' TERM; S=1000.@@; export S
            sleep \"$S\" &
            (setsid sh -c 'sleep \"$S\" & exec sleep \"$S\"' >/dev/null 2>&1 &)
            (setsid sh -c '(setsid sleep \"$S\" &)' &)
            (setsid env -i sleep \"$S\" &)
            (setsid sh -c 'while :; do sleep 0.01; done' &)
            until [ $(pgrep -c -f \"^sleep $S\") -ge 5 ]; do sleep 0.01; done
            echo ready
            while :; do sleep \"$S\"; done # last";
        let (marker, mut launch) = marked_shell(script);
        replace_marker(&mut launch, &marker);
        Some((marker, launch))
    }

    fn replace_marker(launch: &mut Launch, marker: &str) {
        let script = launch.args[1].to_str().expect("plain");
        let (head, tail) = script.split_once("S=1000.").expect("a stubborn script");
        let (_, tail) = tail.split_once(';').expect("a stubborn script");
        launch.args[1] = format!("{head}S=1000.{marker};{tail}").into();
    }

    fn tuner_command(role: &str, marker: &str, copies: usize, launch: &Launch) -> Command {
        let mut command = Command::new(this_program());
        command.env(ROLE, role).env(MARKER, marker).arg(copies.to_string()).arg(&launch.args[1]);
        command
    }

    fn start_tuner(command: &mut Command) -> (Child, impl Iterator<Item = String> + use<>) {
        let mut tuner = command.stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(tuner.stdout.take().expect("piped")).lines().map_while(Result::ok);
        (tuner, lines)
    }

    fn executable(path: &Path, content: &[u8]) {
        fs::write(path, content).expect("writable");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    }

    fn this_program() -> PathBuf {
        std::env::current_exe().expect("known on Linux")
    }

    fn send(signal: &str, pid: u32) {
        let status =
            Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().expect("starts");
        assert!(status.success());
    }

    fn wait_for_line(process: &Process, wanted: &str) {
        let stdout = process.take_stdout().expect("not taken yet");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == wanted), "{wanted} was not said");
        // Kept open, so that the program does not meet a closed pipe.
        std::mem::forget(lines);
    }

    fn output(process: &Process) -> String {
        String::from_utf8(read_all(process.take_stdout().expect("not taken yet"))).expect("UTF-8")
    }

    fn read_all(mut pipe: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("readable");
        bytes
    }

    // ---- The oracle ----

    /// Digits, so that they can be part of a time to sleep.
    fn new_marker() -> String {
        static MARKERS: AtomicUsize = AtomicUsize::new(0);
        let number = MARKERS.fetch_add(1, Ordering::Relaxed);
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
        format!("{now}{:07}{number:04}", std::process::id())
    }

    /// The processes that carry the marker.
    fn marked(marker: &str) -> HashSet<u32> {
        fs::read_dir("/proc")
            .expect("Linux")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| holds_marker(*pid, "environ", marker) || holds_marker(*pid, "cmdline", marker))
            .collect()
    }

    fn holds_marker(pid: u32, file: &str, marker: &str) -> bool {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
    }

    fn assert_none_left(marker: &str) {
        eventually("no process is left", || marked(marker).is_empty());
        // None came into being behind the look either.
        assert_eq!(marked(marker), HashSet::new());
    }

    fn clean_up(marker: &str) {
        while !marked(marker).is_empty() {
            for pid in marked(marker) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < give_up, "it never came that {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    // ---- The runner: the standard one's habits, as far as they are needed ----

    fn run_tests() {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
        let chosen: Vec<&(&str, fn())> = TESTS
            .iter()
            .filter(|(name, _)| {
                filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
            })
            .collect();
        if args.iter().any(|arg| arg == "--list") {
            for (name, _) in &chosen {
                println!("{name}: test");
            }
            return;
        }
        if !run_chosen(&chosen) {
            std::process::exit(101);
        }
    }

    /// A few at a time: concurrent launches are part of what is tested.
    fn run_chosen(chosen: &[&(&str, fn())]) -> bool {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let printing = Mutex::new(());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some((name, test)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let passed = std::panic::catch_unwind(test).is_ok();
                        failed.fetch_or(!passed, Ordering::Relaxed);
                        let _turn = printing.lock();
                        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
                    }
                });
            }
        });
        let failed = failed.into_inner();
        println!("\ntest result: {}. {} run", if failed { "FAILED" } else { "ok" }, chosen.len());
        !failed
    }
}
