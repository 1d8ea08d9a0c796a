//! What holds for every compose file, and what `docker-compose.real.yml` and `docker-compose.postgres.yml` change.

use super::*;

const REAL: &str = "docker-compose.real.yml";
const POSTGRES: &str = "docker-compose.postgres.yml";

/// Returns the services as Compose merges them, as far as these tests look.
fn merged(files: &[&str], variables: &BTreeMap<&str, &str>) -> BTreeMap<String, Value> {
    let mut all = services_of("docker-compose.yml", variables);
    for file in files {
        for (name, service) in services_of(file, variables) {
            merge(all.entry(name).or_default(), service);
        }
    }
    all
}

/// Mappings are merged by key; of anything else, the later one counts.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// What `.env` has when requests are real.
fn own_settings() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("IMAGE_API_KEY", "r8_mine"),
        ("VIDEO_API_KEY", "r8_mine"),
        (
            "NOTIFY_KEYS",
            "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
        (
            "WEBHOOK_SIGNING_SECRET",
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ])
}

/// Loads a role's settings: those of its service, and below them those of `.env`.
fn load(role: &str, service: &Value, env: &BTreeMap<&str, &str>) -> Result<Config, String> {
    let variables = environment(service);
    let roles = Roles {
        intake: role == "intake",
        worker: role == "worker",
        notifier: role == "notifier",
    };
    let lookup = |name: &str| {
        let own = variables.get(name).cloned();
        own.or_else(|| env.get(name).map(|value| (*value).to_owned()))
    };
    settings::load(roles, lookup).map_err(|faults| faults.to_string())
}

#[test]
fn images_are_pinned_to_a_version() {
    for (name, service) in merged(&[POSTGRES], &BTreeMap::new()) {
        let image = service["image"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} has no image"));
        let (repository, tag) = image
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{name}: {image} has no tag"));
        // Postgres has a version and a patch.
        let length = if repository == "postgres" { 2 } else { 3 };
        let numbers: Vec<_> = tag.trim_start_matches('v').split('.').collect();
        let exact =
            numbers.len() == length && numbers.iter().all(|number| number.parse::<u32>().is_ok());
        assert!(exact, "{name}: {image} is not pinned to a version");
    }
}

#[test]
fn no_service_has_rights_or_resources_without_limit() {
    for (name, service) in merged(&[POSTGRES, REAL], &BTreeMap::new()) {
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        let options = texts(&service["security_opt"]);
        assert_eq!(options, ["no-new-privileges:true"], "{name}");
        assert!(service["mem_limit"].is_string(), "{name}");
        assert!(service["pids_limit"].is_number(), "{name}");
    }
}

#[test]
fn variables_that_the_files_ask_for_exist() {
    let known: BTreeSet<_> = Config::variables().into_iter().collect();
    for file in ["docker-compose.yml", REAL, POSTGRES] {
        let text = read(file);
        for part in text.split("${").skip(1) {
            let (name, _) = part.split_once(':').unwrap();
            let is_known = known.contains(name) || name == "POSTGRES_PASSWORD";
            assert!(is_known, "{file}: nothing reads {name}");
        }
    }
}

#[test]
fn roles_start_with_the_users_own_keys_and_no_public_secret() {
    let env = own_settings();
    let services = merged(&[REAL], &env);

    for role in ["intake", "worker", "notifier"] {
        let config = load(role, &services[role], &env).unwrap();

        assert!(!config.insecure_dev && !config.is_development(), "{role}");
        assert!(!config.mock_external_apis);
    }
    let worker = environment(&services["worker"]);
    assert_eq!(worker["IMAGE_API_KEY"], "r8_mine");
    // Empty counts as not set: the provider's own address.
    assert_eq!(worker["IMAGE_API_BASE_URL"], "");
    assert_eq!(services["provider-sim"]["profiles"][0], "simulated");
    let waits = &services["worker"]["depends_on"]["provider-sim"];
    assert_eq!(waits["required"], false);
}

#[test]
fn real_requests_need_secrets_of_ones_own() {
    let env = BTreeMap::from([("IMAGE_API_KEY", "r8_mine")]);
    let services = merged(&[REAL], &env);

    let fault = load("intake", &services["intake"], &env).unwrap_err();

    assert!(fault.contains("NOTIFY_KEYS"), "{fault}");
    assert!(read(REAL).contains("${IMAGE_API_KEY:?"));
}

#[test]
fn everything_that_has_to_outlive_its_container_is_in_a_volume() {
    let services = merged(&[POSTGRES], &BTreeMap::new());

    let mounts = texts(&services["postgres"]["volumes"]);
    assert!(mounts.contains(&"postgres:/var/lib/postgresql/data"));
    let logs = &environment(&services["kafka"])["KAFKA_LOG_DIRS"];
    let mounts = texts(&services["kafka"]["volumes"]);
    assert!(mounts.contains(&format!("kafka:{logs}").as_str()));
    let registry = environment(&services["registry"]);
    let databases = read("deploy/compose/databases.sql");
    for database in ["temporal", "temporal_visibility", "registry"] {
        assert!(databases.contains(&format!("CREATE DATABASE {database};")));
    }
    let url = &registry["APICURIO_DATASOURCE_URL"];
    assert_eq!(url, "jdbc:postgresql://postgres:5432/registry");
}

#[test]
fn both_servers_of_temporal_have_the_same_settings() {
    let development = services();
    let flags = texts(&development["temporal"]["command"]);
    let file: Value = serde_yaml_ng::from_str(&read("deploy/compose/temporal.yaml")).unwrap();
    let settings = file.as_object().unwrap();
    for (name, value) in settings {
        let flag = format!("--dynamic-config-value={name}={}", value[0]["value"]);
        assert!(flags.contains(&flag.as_str()), "{flag}");
    }
    let set = flags.iter().filter(|flag| flag.contains("dynamic-config"));
    assert_eq!(set.count(), settings.len());

    let services = services_of(POSTGRES, &BTreeMap::new());
    let version = tag(&services, "temporal");
    assert_eq!(tag(&services, "temporal-schema"), version);
}
