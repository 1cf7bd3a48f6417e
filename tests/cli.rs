//! The command line without a network: usage, exit status, the three streams, colour. What needs namespaces is in `tests/kernel`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const TOPO: &str = env!("CARGO_BIN_EXE_topo");
const VALID: &str = "name: quick\nnamespaces: { a: {} }\n";
/// Two problems, in lines 2 and 3.
const INVALID: &str = "name: wrong\nbogus: 1\nnamespaces: { a: { bogus: 1 } }\n";
const ESCAPE: char = '\u{1b}';

/// How a run of topo ended, and what it wrote.
#[derive(Debug)]
struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A directory of a test's own, in which topo runs.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// With a file in it.
    fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let place = Self::new();
        fs::write(place.0.join(name), content).unwrap();
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TOPO);
        command.args(arguments).current_dir(&self.0).env_remove("NO_COLOR").env_remove("TOPO_SANDBOX").stdin(Stdio::null());
        command
    }

    fn topo(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }

    /// With this text on standard input.
    fn topo_reading(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Outcome::from(child.wait_with_output().unwrap())
    }

    /// What topo shows on a terminal, which script(1) is to it.
    fn on_terminal(&self, arguments: &str, no_color: Option<&str>) -> String {
        let variable = no_color.map(|value| ("NO_COLOR", value));
        self.on_terminal_with(arguments, variable.as_slice())
    }

    fn on_terminal_with(&self, arguments: &str, variables: &[(&str, &str)]) -> String {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{TOPO} {arguments}"), "/dev/null"]).current_dir(&self.0).env_remove("NO_COLOR");
        command.env("TERM", "xterm").envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().expect("script(1) is installed (on Debian: apt install bsdutils)");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl From<std::process::Output> for Outcome {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("topo writes UTF-8");
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Outcome {
    fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// Insists on an exit status, and that nothing is said on standard output.
    #[track_caller]
    fn exits(self, status: i32) -> Self {
        assert_eq!((self.status, self.stdout.as_str()), (Some(status), ""), "{}", self.stderr);
        self
    }

    /// Insists on a text on standard error.
    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in\n{}", self.stderr);
        self
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let place = Place::new();
    for arguments in [["--help"].as_slice(), &["-h"], &["help"], &["help", "plan"], &["plan", "--help"], &["--version"]] {
        let outcome = place.topo(arguments);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!outcome.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(place.topo(&["--version"]).stdout, format!("topo {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_names_every_command() {
    let help = Place::new().topo(&["--help"]).stdout;
    let commands = [
        "plan",
        "apply",
        "destroy",
        "diff",
        "show",
        "exec",
        "shell",
        "run",
        "list",
        "namespaces",
        "sandbox",
        "validate",
        "schema",
        "init",
        "completions",
        "man",
    ];
    for command in commands {
        assert!(help.lines().any(|line| line.split_whitespace().next() == Some(command)), "{command} is not in\n{help}");
    }
}

#[test]
fn wrong_usage_exits_with_1_since_2_means_changes() {
    let place = Place::with("lab.yaml", VALID);
    let cases: [&[&str]; 12] = [
        &[],
        &["no-such-command"],
        &["plan", "--no-such-option"],
        &["validate", "lab.yaml", "lab.yaml"],
        &["validate", ""],
        &["destroy", "lab.yaml", "lab.yaml"],
        &["sandbox"],
        &["show", "--json", "--brief"],
        &["diff", "--json"],
        &["apply", "--lock-timeout", "soon"],
        &["--color=sometimes", "schema"],
        &["--sandbox=no/name", "plan"],
    ];
    for arguments in cases {
        let outcome = place.topo(arguments);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(1), ""), "{arguments:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("Usage: topo") || outcome.stderr.contains("error: "),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn wrong_usage_of_exec_shell_and_run_exits_with_125_since_1_may_be_the_commands() {
    let place = Place::new();
    for arguments in [["exec"].as_slice(), &["exec", "a"], &["exec", "--no-such-option", "a", "--", "true"], &["shell"], &["run"]]
    {
        place.topo(arguments).exits(125).says("error: ");
    }
}

#[test]
fn validate_reads_a_file_standard_input_or_the_default() {
    let place = Place::with("lab.yaml", VALID);
    fs::write(place.0.join("bad.yaml"), INVALID).unwrap();
    place.topo(&["validate"]).exits(0).says("`lab.yaml`");
    place.topo(&["validate", "./lab.yaml"]).exits(0).says("`quick`");
    place.topo_reading(&["validate", "-"], VALID.as_bytes()).exits(0).says("`<stdin>`");
    place.topo(&["validate", "bad.yaml"]).exits(1).says("bad.yaml:2:1").says("bad.yaml:3:20").says("2 errors");
    place.topo_reading(&["validate", "-"], INVALID.as_bytes()).exits(1).says("<stdin>:2:1");
    place.topo(&["validate", "-"]).exits(1).says("<stdin>:1:1");
}

#[test]
fn the_other_usual_extension_is_a_default_where_lab_yaml_is_missing() {
    let place = Place::with("lab.yml", VALID);
    place.topo(&["validate"]).exits(0).says("`lab.yml`");
    fs::write(place.0.join("lab.yaml"), INVALID).unwrap();
    place.topo(&["validate"]).exits(1).says("lab.yaml:2:1");
    place.topo(&["destroy"]).exits(1).says("lab.yaml:2:1");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let place = Place::with("latin1.yaml", b"name: \xff\n");
    fs::create_dir(place.0.join("directory.yaml")).unwrap();
    for command in ["validate", "plan", "diff", "show"] {
        place.topo(&[command, "missing.yaml"]).exits(1).says("`missing.yaml`: no such file");
        place.topo(&[command, "directory.yaml"]).exits(1).says("`directory.yaml`: is a directory");
        place.topo(&[command, "latin1.yaml"]).exits(1).says("`latin1.yaml` is not UTF-8 text: invalid byte in line 1");
        place.topo(&[command]).exits(1).says("`lab.yaml`: no such file").says("hint: ");
    }
    let outcome = place.topo(&["validate", "\u{1b}[31m"]).exits(1);
    assert!(!outcome.stderr.contains(ESCAPE), "{}", outcome.stderr);
}

#[test]
fn a_fifo_is_refused_and_a_pipe_is_read() {
    let place = Place::with("lab.yaml", VALID);
    nix::unistd::mkfifo(&place.0.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for command in ["validate", "plan", "destroy", "diff", "show"] {
        place.topo(&[command, "fifo"]).exits(1).says("`fifo` is a FIFO");
    }
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{TOPO} validate <(cat lab.yaml)")]).current_dir(&place.0);
    Outcome::of(&mut shell).exits(0).says("`quick` is valid");
}

#[test]
fn plan_diff_and_show_have_the_problems_of_a_file_as_validate_does() {
    let place = Place::with("lab.yaml", INVALID);
    let (validate, plan) = (place.topo(&["validate"]).exits(1), place.topo(&["plan"]).exits(1));
    assert_eq!(plan.stderr, validate.stderr);
    place.topo(&["plan", "--detailed-exitcode"]).exits(1);
    for command in ["plan", "show", "watch"] {
        let json = place.topo(&[command, "--json"]);
        assert_eq!((json.status, &json.stderr), (Some(1), &validate.stderr));
        let error: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(error["error"]["problems"].as_array().unwrap().len(), 2, "{error}");
    }
    for arguments in [["diff"].as_slice(), &["diff", "--exit-code"], &["show"]] {
        assert_eq!(place.topo(arguments).exits(1).stderr, validate.stderr, "{arguments:?}");
    }
}

#[test]
fn colour_follows_the_terminal_no_color_and_the_option() {
    let place = Place::with("lab.yaml", INVALID);
    let coloured = |arguments: &str, no_color| place.on_terminal(arguments, no_color).contains(ESCAPE);
    assert!(coloured("validate", None));
    assert!(coloured("validate", Some("")), "an empty NO_COLOR is none");
    assert!(!coloured("validate", Some("1")));
    assert!(coloured("--color=always validate", Some("1")), "an option is stronger than the environment");
    assert!(!coloured("validate --color=never", None));
    let dumb = place.on_terminal_with("validate", &[("TERM", "dumb")]);
    assert!(!dumb.contains(ESCAPE), "{dumb}");
    let piped = |arguments: &[&str]| place.topo(arguments).stderr.contains(ESCAPE);
    assert!(!piped(&["validate"]));
    assert!(piped(&["validate", "--color=always"]));
}

#[test]
fn the_schema_is_json_and_the_one_of_the_repository() {
    let outcome = Place::new().topo(&["schema"]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(schema["properties"]["namespaces"].is_object());
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/lab.schema.json");
    assert_eq!(outcome.stdout, fs::read_to_string(stored).unwrap());
}

/// A validator of the schema that `topo schema NAME` prints, which is the one of the repository.
fn validator(name: &str) -> jsonschema::Validator {
    let printed = Place::new().topo(&["schema", name]);
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.schema.json"));
    assert_eq!(printed.stdout, fs::read_to_string(stored).unwrap());
    jsonschema::validator_for(&serde_json::from_str(&printed.stdout).unwrap()).unwrap()
}

#[track_caller]
fn accepted(validator: &jsonschema::Validator, text: &str) -> serde_json::Value {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}: {text}");
    value
}

#[test]
fn problems_are_json_with_their_positions() {
    let validator = validator("validate");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    let place = Place::new();
    for file in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let outcome = place.topo(&["validate", "--json", file.to_str().unwrap()]);
        let value = accepted(&validator, &outcome.stdout);
        assert_eq!(outcome.stderr, "");
        let said = place.topo(&["validate", file.to_str().unwrap()]);
        assert_eq!(outcome.status, said.status);
        assert_eq!(value["valid"], said.status == Some(0));
        for problem in value["problems"].as_array().unwrap().iter().take(100) {
            let start = &problem["range"]["start"];
            let position = format!("{}:{}:{}", file.display(), start["line"], start["column"]);
            assert!(start.is_null() || said.stderr.contains(&position), "{position} is not in\n{}", said.stderr);
        }
    }
    let valid = Place::with("lab.yaml", "name: x\nnamespaces: { a: {} }\n").topo(&["validate", "--json"]);
    let value = accepted(&validator, &valid.stdout);
    assert_eq!((&value["valid"], &value["lab"], &value["problems"]), (&true.into(), &"x".into(), &serde_json::json!([])));
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let validator = validator("error");
    let place = Place::with("lab.yaml", INVALID);
    for arguments in
        [["validate", "--json", "missing.yaml"], ["plan", "--json", "missing.yaml"], ["ps", "--json", "missing.yaml"]]
    {
        let outcome = place.topo(&arguments);
        let value = accepted(&validator, &outcome.stdout);
        assert_eq!((outcome.status, &value["error"]["status"]), (Some(1), &1.into()), "{arguments:?}");
        let message = value["error"]["message"].as_str().unwrap();
        assert_eq!(message, "cannot read `missing.yaml`: no such file or directory");
        assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
    }
    let outcome = place.topo(&["plan", "--json"]);
    let value = accepted(&validator, &outcome.stdout);
    assert!(value["error"]["problems"][0]["range"]["start"]["line"].is_u64(), "{value}");
    assert_eq!(place.topo(&["plan", "missing.yaml"]).stdout, "", "without --json there is none");
}

#[test]
fn a_reader_that_goes_away_ends_topo_quietly() {
    let place = Place::new();
    for arguments in [["schema"], ["--help"]] {
        let mut command = place.command(&arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap().code();
        assert!(said.is_empty() && status == Some(0), "{arguments:?}: {status:?}: {said}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::with("lab.yaml", INVALID);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let outcome = Outcome::of(place.command(&["schema"]).stdout(full()).stderr(Stdio::piped()));
    outcome.exits(1).says("error: no space left on device");
    // Where nothing can be said, the exit status still tells.
    assert_eq!(place.command(&["validate"]).stderr(full()).status().unwrap().code(), Some(1));
}

#[test]
fn a_first_lab_is_valid_and_names_its_schema() {
    let place = Place::new();
    place
        .topo(&["init", "ring.yaml"])
        .exits(0)
        .says("Wrote `ring.yaml`, and `lab.schema.json` for editors.")
        .says("topo apply ring.yaml");
    place.topo(&["validate", "ring.yaml"]).exits(0).says("lab `ring` is valid");
    let read = |name: &str| fs::read_to_string(place.0.join(name)).unwrap();
    assert_eq!(read("ring.yaml").lines().next(), Some("# yaml-language-server: $schema=lab.schema.json"));
    assert_eq!(read("lab.schema.json"), place.topo(&["schema"]).stdout);
    place.topo(&["init", "--minimal", "--no-schema", "small.yaml"]).exits(0).says("Wrote `small.yaml`.");
    for name in ["ring.yaml", "small.yaml"] {
        let lab: serde_json::Value = serde_yaml::from_str(&read(name)).unwrap();
        assert!(validator("lab").is_valid(&lab), "{name}");
        assert!(read(name).lines().all(|line| line.len() <= 80), "{name}");
    }
    let printed = place.topo(&["init", "-"]);
    assert_eq!((printed.status, printed.stdout.starts_with("# Two hosts")), (Some(0), true));
}

#[test]
fn a_first_lab_replaces_nothing() {
    let place = Place::with("lab.yaml", VALID);
    place.topo(&["init"]).exits(1).says("error: `lab.yaml` exists already").says("hint: name another file, or use `--force`");
    assert_eq!(fs::read_to_string(place.0.join("lab.yaml")).unwrap(), VALID);
    assert!(!place.0.join("lab.schema.json").exists());
    fs::write(place.0.join("lab.schema.json"), "{}").unwrap();
    place.topo(&["init", "other.yaml"]).exits(0).says("warning: `lab.schema.json` exists and is kept");
    assert_eq!(fs::read_to_string(place.0.join("lab.schema.json")).unwrap(), "{}");
    place.topo(&["init", "--force"]).exits(0);
    assert!(fs::read_to_string(place.0.join("lab.schema.json")).unwrap().len() > 1000);
    place.topo(&["init", "missing/lab.yaml"]).exits(1).says("cannot write `missing/lab.yaml`: no such file or directory");
}
