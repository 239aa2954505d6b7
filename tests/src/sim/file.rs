//! The configuration files of the sites: real TOML through the real reader.

use config::{Gateway as Plan, Host, SecretError};
use crypto::Secret;

/// Secrets by name, without a disk.
struct Safe;

impl Host for Safe {
    fn file(&self, path: &str) -> Result<Secret, SecretError> {
        Ok(Secret::from(format!("the secret in {path}").as_str()))
    }

    fn credential(&self, _: &str) -> Result<Secret, SecretError> {
        Err(SecretError::NoCredentials)
    }

    fn table(&self, _: &str) -> Option<u32> {
        None
    }
}

/// Reads a file as the daemon does; the errors in words.
pub(crate) fn load(text: &str) -> Result<Plan, String> {
    config::load("causeway.toml", text, &Safe).map(|plan| plan.gateway).map_err(|errors| errors.to_string())
}

/// One `[tunnel.X]` with its neighbour.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) start: &'static str,
    pub(crate) psk: String,
    pub(crate) ids: Option<(String, String)>,
    pub(crate) ike_lifetime: &'static str,
    pub(crate) esp_lifetime: &'static str,
    pub(crate) dpd: (&'static str, &'static str),
    pub(crate) encapsulation: &'static str,
    /// Of the neighbour: address, AS, and our source address. `None`: no neighbour.
    pub(crate) neighbor: Option<(String, u32, String)>,
    pub(crate) import: &'static str,
    pub(crate) export: &'static str,
    pub(crate) routes: Vec<String>,
    /// More keys of `[tunnel.X.esp]`.
    pub(crate) esp: &'static str,
}

impl Link {
    /// An initiator's end with the usual settings.
    pub(crate) fn new(name: &str, local: &str, remote: &str) -> Self {
        let quoted = |text: &str| format!("\"{text}\"");
        Self {
            name: name.to_owned(),
            local: quoted(local),
            remote: quoted(remote),
            start: "initiate",
            psk: "shared".to_owned(),
            ids: None,
            ike_lifetime: "8h",
            esp_lifetime: "1h",
            dpd: ("10s", "30s"),
            encapsulation: "auto",
            neighbor: None,
            import: "\"any\"",
            export: "\"any\"",
            routes: Vec::new(),
            esp: "",
        }
    }

    pub(crate) fn responds(mut self) -> Self {
        self.start = "respond";
        self
    }

    pub(crate) fn neighbor(mut self, address: &str, asn: u32, source: &str) -> Self {
        self.neighbor = Some((address.to_owned(), asn, source.to_owned()));
        self
    }

    pub(crate) fn ids(mut self, local: &str, remote: &str) -> Self {
        self.ids = Some((local.to_owned(), remote.to_owned()));
        self
    }

    fn text(&self) -> String {
        let Self { name, local, remote, start, psk, ike_lifetime, esp_lifetime, encapsulation, esp, .. } =
            self;
        let (delay, timeout) = self.dpd;
        let ids = self
            .ids
            .as_ref()
            .map(|(local, remote)| format!("local_id = \"{local}\"\nremote_id = \"{remote}\"\n"));
        let ids = ids.unwrap_or_default();
        let source = self.neighbor.as_ref().map(|(_, _, source)| format!("source = \"{source}\"\n"));
        let source = source.unwrap_or_default();
        let routes: Vec<String> = self.routes.iter().map(|route| format!("\"{route}\"")).collect();
        let routes = routes.join(", ");
        format!(
            "[tunnel.{name}]\nlocal = {local}\nremote = {remote}\nstart = \"{start}\"\n\
             psk = {{ file = \"{psk}\" }}\n{ids}\n\
             [tunnel.{name}.ike]\nlifetime = \"{ike_lifetime}\"\n\
             dpd = {{ delay = \"{delay}\", timeout = \"{timeout}\" }}\n\n\
             [tunnel.{name}.esp]\nlifetime = \"{esp_lifetime}\"\nencapsulation = \"{encapsulation}\"\n{esp}\n\
             [tunnel.{name}.interface]\nroutes = [{routes}]\n{source}\n"
        )
    }

    fn neighbor_text(&self) -> String {
        let Some((address, asn, source)) = &self.neighbor else { return String::new() };
        let Self { name, import, export, .. } = self;
        let policy = |key: &str, value: &str| {
            if value.is_empty() { String::new() } else { format!("{key} = {value}\n") }
        };
        let (import, export) = (policy("import", import), policy("export", export));
        format!(
            "[bgp.neighbor.{name}]\naddress = \"{address}\"\nasn = {asn}\ntunnel = \"{name}\"\n\
             source = \"{source}\"\nmultihop = 2\n{import}{export}\n"
        )
    }
}

/// A whole file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) asn: u32,
    pub(crate) table: Option<u32>,
    pub(crate) metric: Option<u32>,
    /// `[log]` `level`.
    pub(crate) level: Option<&'static str>,
    pub(crate) networks: Vec<String>,
    pub(crate) links: Vec<Link>,
    pub(crate) lists: String,
}

impl File {
    pub(crate) fn new(id: &str, asn: u32, network: &str) -> Self {
        Self {
            id: id.to_owned(),
            asn,
            table: None,
            metric: None,
            level: None,
            networks: vec![network.to_owned()],
            links: Vec::new(),
            lists: String::new(),
        }
    }

    pub(crate) fn link(mut self, link: Link) -> Self {
        self.links.push(link);
        self
    }

    /// The TOML.
    pub(crate) fn text(&self) -> String {
        let networks: Vec<String> = self.networks.iter().map(|network| format!("\"{network}\"")).collect();
        let table = self.table.map(|table| format!("table = {table}\n")).unwrap_or_default();
        let metric = self.metric.map(|metric| format!("metric = {metric}\n")).unwrap_or_default();
        let level = self.level.map(|level| format!("[log]\nlevel = \"{level}\"\n")).unwrap_or_default();
        let mut text = format!(
            "[router]\nid = \"{}\"\nasn = {}\n\n[routes]\n{table}{metric}\n{level}\n",
            self.id, self.asn
        );
        for link in &self.links {
            text += &link.text();
        }
        text += &format!("[bgp]\nnetworks = [{}]\n\n", networks.join(", "));
        for link in &self.links {
            text += &link.neighbor_text();
        }
        text + &self.lists
    }
}
