//! The two gateways: their files, their processes, what they say.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use control::{Answer, Client, Request, view};
use kernel::netns::Namespace;
use rustix::process::{Pid, Signal, kill_process};

use super::net::{HOSTS, PREFIX};
use super::{Failure, pause};

/// The shipped example, as it is.
const SITE: &str = include_str!("../../../examples/azure.toml");
const HEADEND: &str = include_str!("headend.toml");
/// The script that removes a demo that was kept.
const REMOVE: &str = "remove";
/// How long a gateway may take to end in order.
const PATIENCE: Duration = Duration::from_secs(3);

/// A directory for one demo, gone with the value unless kept.
pub(super) struct Workplace {
    path: PathBuf,
    kept: bool,
}

impl Workplace {
    /// One that shall be kept has a fixed name, so that there is one at a time.
    pub(super) fn make(keep: bool) -> Result<Self, Failure> {
        let name = if keep { "kept".to_owned() } else { std::process::id().to_string() };
        let path = std::env::temp_dir().join(format!("causeway-demo-{name}"));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path, kept: false }),
            Err(error) if keep && error.kind() == io::ErrorKind::AlreadyExists => {
                Err(format!("an earlier demo is still up; to remove it: sh {}", path.join(REMOVE).display())
                    .into())
            }
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it stay, with a script that removes everything; its path.
    pub(super) fn keep(&mut self, gateways: &[Gateway; 2]) -> Result<PathBuf, Failure> {
        let mut script = String::from("#!/bin/sh\n# Ends the demo that was kept and removes what it made.\n");
        for gateway in gateways {
            // Whatever has the number later is not to be ended for it.
            let (pid, config) = (gateway.pid(), self.path.join(format!("{}.toml", gateway.name)));
            script += &format!("grep -qs {} /proc/{pid}/cmdline && kill {pid}\n", config.display());
        }
        script += "sleep 1\n";
        for host in HOSTS {
            script += &format!("umount /run/netns/{PREFIX}{host}; rm /run/netns/{PREFIX}{host}\n");
        }
        script += &format!("rm -r {}\n", self.path.display());
        let path = self.write(REMOVE, &script)?;
        self.kept = true;
        Ok(path)
    }

    /// Writes a file that nobody else can read.
    fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if !self.kept {
            // In the temporary directory; what is left of it harms nobody.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// One of the two, running.
pub(super) struct Gateway {
    /// `site` or `headend`.
    pub(super) name: &'static str,
    pub(super) socket: PathBuf,
    child: Option<Child>,
    log: File,
    /// The unfinished line.
    rest: String,
}

/// A line it logged.
pub(super) struct Logged {
    /// Seconds of the day, UTC.
    pub(super) at: Option<f64>,
    pub(super) level: String,
    pub(super) text: String,
}

/// Writes both gateways' files, with one fresh secret, and starts them: the head-end first.
pub(super) fn start(
    place: &Workplace,
    site: &Namespace,
    headend: &Namespace,
) -> Result<[Gateway; 2], Failure> {
    let secret: String = crate::start::seed()?.iter().map(|octet| format!("{octet:02x}")).collect();
    place.write("azure.psk", &secret)?;
    place.write("site.psk", &secret)?;
    let headend = Gateway::start("headend", HEADEND, place, headend)?;
    let site = Gateway::start("site", SITE, place, site)?;
    Ok([site, headend])
}

impl Gateway {
    fn start(
        name: &'static str,
        text: &str,
        place: &Workplace,
        namespace: &Namespace,
    ) -> Result<Self, Failure> {
        let socket = place.path.join(format!("{name}.sock"));
        let text = format!("{text}\n[control]\nsocket = \"{}\"\n", socket.display());
        let config = place.write(&format!("{name}.toml"), &text)?;
        let log = place.write(&format!("{name}.log"), "")?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["run", "--config"])
            .arg(config)
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(OpenOptions::new().append(true).open(&log)?)
            // An interrupt of the terminal is for the demo, which then ends its gateways in order.
            .process_group(0);
        let child = namespace.start_inside(&mut command)?.spawn()?;
        Ok(Self { name, socket, child: Some(child), log: File::open(log)?, rest: String::new() })
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Fails with its last words when it has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let words: Vec<String> = self.logged().into_iter().map(|line| line.text).collect();
                Err(format!("the {} gateway ended: {status}\n{}", self.name, words.join("\n")).into())
            }
        }
    }

    /// What it logged since the last time.
    pub(super) fn logged(&mut self) -> Vec<Logged> {
        // A log that cannot be read shows as a demo without timeline, not as a failure.
        let _ = self.log.read_to_string(&mut self.rest);
        let Some(end) = self.rest.rfind('\n') else { return Vec::new() };
        let lines = self.rest.get(..end).unwrap_or_default().lines().map(parse).collect();
        self.rest.drain(..=end);
        lines
    }

    /// Asks it one thing; `None` while it does not answer.
    pub(super) fn ask(&self, request: &Request) -> Option<Answer> {
        Client::connect(&self.socket).ok()?.ask(request).ok()
    }

    pub(super) fn status(&self) -> Option<view::Status> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Some(status),
            _ => None,
        }
    }

    pub(super) fn routes(&self) -> Option<view::Routes> {
        match self.ask(&Request::Routes)? {
            Answer::Routes(routes) => Some(routes),
            _ => None,
        }
    }

    /// What `causeway ARGUMENTS` prints about it.
    pub(super) fn print(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = Command::new(std::env::current_exe()?)
            .args(arguments)
            .arg("--socket")
            .arg(&self.socket)
            .stdin(Stdio::null())
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }

    /// Lets it run on.
    pub(super) fn keep(mut self) {
        self.child = None;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // Not yet waited for, so the number is still its own.
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        let mut waited = Duration::ZERO;
        while waited < PATIENCE {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            waited += pause();
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn parse(line: &str) -> Logged {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line) else {
        return Logged { at: None, level: "ERROR".to_owned(), text: line.to_owned() };
    };
    let field = |name: &str| fields.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let mut text = field("message").to_owned();
    for (name, value) in &fields {
        if !["timestamp", "level", "message", "tunnel", "spi"].contains(&name.as_str()) {
            text += &format!(" {name}={value}");
        }
    }
    Logged { at: seconds_of_day(field("timestamp")), level: field("level").to_owned(), text }
}

/// From `2026-01-31T23:59:59.123456Z`.
fn seconds_of_day(timestamp: &str) -> Option<f64> {
    let (_, time) = timestamp.split_once('T')?;
    let mut parts = time.trim_end_matches('Z').splitn(3, ':');
    let hours: f64 = parts.next()?.parse().ok()?;
    let minutes: f64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some((hours * 60.0 + minutes) * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_read_and_foreign_text_is_kept() {
        let line = parse(
            r#"{"timestamp":"2026-01-31T01:00:02.5Z","level":"INFO","message":"IKE is up","tunnel":"azure"}"#,
        );
        assert_eq!((line.at, line.level.as_str(), line.text.as_str()), (Some(3602.5), "INFO", "IKE is up"));
        let line = parse("azure.toml:3:1: unknown key");
        assert_eq!((line.at, line.text.as_str()), (None, "azure.toml:3:1: unknown key"));
    }

    #[test]
    fn both_files_are_one_tunnel_seen_from_two_sides() {
        for both in ["aes256-sha1-modp1024", "\"aes256-sha1\"", "203.0.113.1", "192.0.2.1", "172.16.0.254"] {
            assert!(SITE.contains(both) && HEADEND.contains(both), "{both}");
        }
        assert!(!SITE.contains("[control]"), "the demo adds one");
    }
}
