//! Verbs that change something: up, down, rekey, clear, reload.

use std::io::Write;

use control::{Answer, BgpClear, Request};

use super::{CommandError, ask};
use crate::args::{ClearWhat, ClientOptions};

pub(super) fn up(tunnel: &str, client: &ClientOptions, out: &mut impl Write) -> Result<(), CommandError> {
    done(client, &Request::Up { tunnel: tunnel.to_owned() }, out)
}

pub(super) fn down(tunnel: &str, client: &ClientOptions, out: &mut impl Write) -> Result<(), CommandError> {
    done(client, &Request::Down { tunnel: tunnel.to_owned() }, out)
}

pub(super) fn rekey(
    tunnel: &str,
    ike: bool,
    child: bool,
    client: &ClientOptions,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let request = Request::Rekey { tunnel: tunnel.to_owned(), ike, child: child || !ike };
    done(client, &request, out)
}

pub(super) fn clear(what: &ClearWhat, out: &mut impl Write) -> Result<(), CommandError> {
    let request = match what {
        ClearWhat::Ike { tunnel, .. } => Request::ClearIke { tunnel: tunnel.clone() },
        ClearWhat::Ipsec { tunnel, .. } => Request::ClearIpsec { tunnel: tunnel.clone() },
        ClearWhat::Bgp { neighbor, how, .. } => Request::ClearBgp {
            neighbor: neighbor.clone().filter(|name| name != "all"),
            how: bgp_clear(how)?,
        },
    };
    done(what.client(), &request, out)
}

pub(super) fn reload(client: &ClientOptions, out: &mut impl Write) -> Result<(), CommandError> {
    done(client, &Request::Reload, out)
}

fn bgp_clear(words: &[String]) -> Result<BgpClear, CommandError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(BgpClear::Hard),
        ["soft", "in"] => Ok(BgpClear::SoftIn),
        ["soft", "out"] => Ok(BgpClear::SoftOut),
        _ => Err(CommandError::Usage("want `soft in` or `soft out` after the neighbour".to_owned())),
    }
}

fn done(client: &ClientOptions, request: &Request, out: &mut impl Write) -> Result<(), CommandError> {
    let Answer::Done(lines) = ask(client, request)? else { return Err(CommandError::Unexpected) };
    if client.json {
        writeln!(out, "{}", serde_json::json!({ "done": lines }))?;
        return Ok(());
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_needs_a_direction() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(bgp_clear(&words("")).unwrap(), BgpClear::Hard);
        assert_eq!(bgp_clear(&words("soft in")).unwrap(), BgpClear::SoftIn);
        assert_eq!(bgp_clear(&words("soft out")).unwrap(), BgpClear::SoftOut);
        assert!(bgp_clear(&words("soft")).is_err());
        assert!(bgp_clear(&words("in")).is_err());
    }
}
