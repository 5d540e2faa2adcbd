//! Reads AWS's own settings: from the environment variables, or else from the profile.

use std::path::PathBuf;

use url::Url;

use super::{
    aws_variables::{
        self, CA_BUNDLE, ENDPOINT_URL, IGNORE_ENDPOINT_URLS, PINPOINT_ENDPOINT_URL, REGION_VARIABLES,
        STS_ENDPOINT_URL, USE_DUALSTACK, USE_FIPS,
    },
    effective::EffectiveSetting,
    endpoint,
    environment::Environment,
    error::{SettingError, SettingErrors},
    profile::{Profile, Profiles},
    proxy::Proxies,
    value::{self, Explanation},
};
use crate::model::target;

/// The settings from AWS's variables and the profile.
#[derive(Debug, Default)]
pub(super) struct Aws {
    /// The configured region, even if it is not valid. An invalid region is reported as a problem.
    pub(super) region: Option<String>,
    pub(super) endpoint_url: Option<Url>,
    pub(super) sts_endpoint_url: Option<Url>,
    /// Whether STS has its own endpoint, apart from the endpoint for all services.
    pub(super) has_endpoint_of_sts: bool,
    pub(super) use_fips_endpoint: bool,
    pub(super) use_dualstack_endpoint: bool,
    pub(super) ca_bundle: Option<PathBuf>,
    pub(super) proxies: Proxies,
    /// The settings that come from the profile.
    pub(super) of_profile: Vec<EffectiveSetting>,
}

/// A setting and its source.
struct Found {
    /// The environment variable of the setting.
    variable: &'static str,
    /// The name of the setting in problems.
    name: String,
    text: String,
    /// The profile and the position in its file. `None` if the setting comes from the environment.
    source: Option<String>,
}

impl Found {
    fn problem(&self, explanation: impl Into<String>) -> SettingError {
        SettingError::new(&self.name, &aws_variables::shown(self.variable, &self.text), explanation)
    }
}

struct Reader<'a> {
    environment: &'a Environment,
    profiles: Option<&'a Profiles>,
    problems: Vec<SettingError>,
    of_profile: Vec<EffectiveSetting>,
}

impl Aws {
    pub(super) fn read(
        environment: &Environment,
        profiles: Option<&Profiles>,
        problems: &mut SettingErrors,
    ) -> Self {
        let mut reader = Reader { environment, profiles, problems: Vec::new(), of_profile: Vec::new() };
        let region = reader.find(&REGION_VARIABLES, "region");
        if let Some(region) = &region
            && !target::is_region(&region.text)
        {
            reader.refuse(
                region.problem("this is not a valid region; write one in lower case, such as us-east-1"),
            );
        }
        let ignored = reader.switch(IGNORE_ENDPOINT_URLS, "ignore_configured_endpoint_urls").is_some();
        let fips = reader.switch(USE_FIPS, "use_fips_endpoint");
        let dualstack = reader.switch(USE_DUALSTACK, "use_dualstack_endpoint");
        let mut endpoints = [(PINPOINT_ENDPOINT_URL, "pinpoint"), (STS_ENDPOINT_URL, "sts")]
            .map(|(variable, service)| reader.endpoint(variable, service).filter(|_| !ignored));
        let has_endpoint_of_sts =
            endpoints[1].as_ref().is_some_and(|endpoint| endpoint.variable == STS_ENDPOINT_URL);
        let [endpoint_url, sts_endpoint_url] = endpoints.each_mut().map(|found| {
            let found = found.take()?;
            reader.show(&found);
            for chosen in [&fips, &dualstack].into_iter().flatten() {
                reader.refuse(found.problem(format!(
                    "it cannot be combined with {}=\"true\", which chooses among AWS's own addresses; unset one",
                    chosen.name
                )));
            }
            let url = endpoint::endpoint_url(&found.text);
            url.map_err(|explanation| reader.refuse(found.problem(explanation))).ok()
        });
        let ca_bundle = environment.ca_bundle.clone().or_else(|| {
            let found = reader.of_profile(CA_BUNDLE, "ca_bundle")?;
            reader.show(&found);
            Some(found.text.into())
        });
        for found in [&region, &fips, &dualstack].into_iter().flatten() {
            reader.show(found);
        }
        let mut wrong_proxies = Vec::new();
        let proxies = Proxies::read(
            |name| environment.other(name),
            |name, text, why| {
                wrong_proxies.push(SettingError::new(name, &aws_variables::shown(name, text), why));
            },
        );
        problems.problems.extend(reader.problems.into_iter().chain(wrong_proxies));
        Self {
            region: region.map(|region| region.text),
            endpoint_url,
            sts_endpoint_url,
            has_endpoint_of_sts,
            use_fips_endpoint: fips.is_some(),
            use_dualstack_endpoint: dualstack.is_some(),
            ca_bundle,
            proxies,
            of_profile: reader.of_profile,
        }
    }
}

impl Reader<'_> {
    fn selected(&self) -> Option<&Profile> {
        self.profiles?.selected()
    }

    /// Finds a setting: the first of the variables that is set, or else the property of the profile.
    fn find(&self, variables: &[&'static str], property: &str) -> Option<Found> {
        let set = variables.iter().find_map(|variable| self.of_environment(variable));
        set.or_else(|| self.of_profile(variables.first()?, property))
    }

    fn of_environment(&self, variable: &'static str) -> Option<Found> {
        let text = self.environment.other(variable)?.to_owned();
        Some(Found { variable, name: variable.to_owned(), text, source: None })
    }

    fn of_profile(&self, variable: &'static str, property: &str) -> Option<Found> {
        let profile = self.selected()?;
        let value = profile.get(property)?;
        let source = format!("AWS profile {} ({})", profile.shown_name(), value.position);
        Some(Found {
            variable,
            name: format!("{property} of the {source}"),
            text: value.text,
            source: Some(source),
        })
    }

    /// Returns a boolean setting if it is true.
    fn switch(&mut self, variable: &'static str, property: &str) -> Option<Found> {
        let found = self.find(&[variable], property)?;
        let read: Result<bool, Explanation> = value::boolean(&found.text);
        match read {
            Ok(is_on) => is_on.then_some(found),
            Err(explanation) => {
                self.refuse(found.problem(explanation));
                None
            }
        }
    }

    /// Finds the configured endpoint of a service, in the order of AWS's SDKs: the variable for the service, the variable for
    /// all services, the `services` section of the profile, the profile itself.
    fn endpoint(&mut self, variable: &'static str, service: &str) -> Option<Found> {
        self.of_environment(variable)
            .or_else(|| self.of_environment(ENDPOINT_URL))
            .or_else(|| self.of_services(variable, service))
            .or_else(|| self.of_profile(ENDPOINT_URL, "endpoint_url"))
    }

    fn of_services(&mut self, variable: &'static str, service: &str) -> Option<Found> {
        let name = self.of_profile("services", "services")?;
        let Some(section) = self.profiles?.services(&name.text) else {
            self.refuse(name.problem(
                "the section does not exist; add [services NAME] with that name, or remove this line",
            ));
            return None;
        };
        let value = section.nested(service, "endpoint_url")?;
        let source = format!("AWS services {} ({})", section.shown_name(), value.position);
        let name = format!("endpoint_url of {service} in the {source}");
        Some(Found { variable, name, text: value.text, source: Some(source) })
    }

    /// Adds a problem once. A general endpoint can be wrong for two services.
    fn refuse(&mut self, problem: SettingError) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn show(&mut self, found: &Found) {
        let Some(source) = &found.source else { return };
        let value = aws_variables::shown(found.variable, &found.text);
        let effective = EffectiveSetting { variable: found.variable, value, source: source.clone().into() };
        if !self.of_profile.contains(&effective) {
            self.of_profile.push(effective);
        }
    }
}
