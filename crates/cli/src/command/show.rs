//! `show …`

use std::io::Write;

use control::{Answer, Request};
use serde::Serialize;

use super::{CommandError, ask};
use crate::args::{ClientOptions, Show, ShowBgp, ShowBgpPage, ShowNeighbors};
use crate::render;

pub(super) fn show(page: &Show, out: &mut impl Write) -> Result<(), CommandError> {
    let (request, client) = question(page);
    let answer = ask(client, &request)?;
    print(answer, client.json, out)
}

fn question(page: &Show) -> (Request, &ClientOptions) {
    match page {
        Show::Status(client) => (Request::Status, client),
        Show::Ike(client) => (Request::Ike, client),
        Show::Ipsec(client) => (Request::Ipsec, client),
        Show::Interfaces(client) => (Request::Interfaces, client),
        Show::Routes(client) => (Request::Routes, client),
        Show::Log { lines, client } => (Request::Log { lines: *lines }, client),
        Show::Bgp(bgp) => bgp_question(bgp),
    }
}

fn bgp_question(bgp: &ShowBgp) -> (Request, &ClientOptions) {
    match (&bgp.page, &bgp.prefix) {
        (Some(ShowBgpPage::Summary(client)), _) => (Request::BgpSummary, client),
        (Some(ShowBgpPage::Neighbors(page)), _) => (neighbors_question(page), &page.client),
        (None, Some(prefix)) => (Request::BgpPrefix { prefix: prefix.clone() }, &bgp.client),
        (None, None) => (Request::Bgp, &bgp.client),
    }
}

fn neighbors_question(page: &ShowNeighbors) -> Request {
    let Some(neighbor) = page.neighbor.clone() else { return Request::BgpNeighbors { neighbor: None } };
    match page.routes.as_deref() {
        Some("received-routes") => Request::BgpReceived { neighbor },
        Some("routes") => Request::BgpAccepted { neighbor },
        Some("advertised-routes") => Request::BgpAdvertised { neighbor },
        _ => Request::BgpNeighbors { neighbor: Some(neighbor) },
    }
}

fn print(answer: Answer, as_json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    match answer {
        Answer::Status(view) => either(as_json, &view, render::status, out),
        Answer::Ike(view) => either(as_json, &view, render::ike, out),
        Answer::Ipsec(view) => either(as_json, &view, |v| render::ipsec(v), out),
        Answer::Interfaces(view) => either(as_json, &view, render::interfaces, out),
        Answer::Routes(view) => either(as_json, &view, render::routes, out),
        Answer::Bgp(view) => either(as_json, &view, render::bgp_table, out),
        Answer::BgpSummary(view) => either(as_json, &view, render::bgp_summary, out),
        Answer::BgpNeighbors(view) => either(as_json, &view, |v| render::bgp_neighbors(v), out),
        Answer::BgpRoutes(view) => either(as_json, &view, render::bgp_routes, out),
        Answer::Log(lines) => either(as_json, &lines, |v| v.join("\n") + "\n", out),
        Answer::Done(_) | Answer::Refused(_) | Answer::Capturing { .. } => Err(CommandError::Unexpected),
    }
}

fn either<V: Serialize>(
    as_json: bool,
    view: &V,
    text: impl FnOnce(&V) -> String,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    if as_json {
        let json = serde_json::to_string_pretty(view).map_err(std::io::Error::from)?;
        writeln!(out, "{json}")?;
    } else {
        out.write_all(text(view).as_bytes())?;
    }
    Ok(())
}
