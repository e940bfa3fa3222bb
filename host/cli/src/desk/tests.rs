use serde_json::json;
use tempfile::TempDir;
use tidegate_infrastructure::files::{self, Access};
use tidegate_permission::{Held, Listed};

use super::*;

/// One secret, `token`, in memory.
#[derive(Debug)]
struct Drawer(Mutex<(Vec<u8>, u64)>);

impl Drawer {
    fn revision(version: u64) -> Revision {
        Revision { version, written: "now".into() }
    }
}

#[async_trait]
impl tidegate_permission::SecretSource for Drawer {
    async fn read(&self, name: &str) -> Result<Held> {
        if name != "token" {
            return Err(Fault::user(Code::NoSecret, format!("there is no secret `{name}`")));
        }
        let (value, version) = self.0.lock().unwrap().clone();
        Ok(Held { secret: Secret::new(value), revision: Some(Self::revision(version)) })
    }
}

#[async_trait]
impl SecretKeeper for Drawer {
    async fn replace(&self, _: &str, value: &Secret, _: &Principal, read: &Revision) -> Result<Revision> {
        let mut held = self.0.lock().unwrap();
        if *read != Self::revision(held.1) {
            return Err(Fault::external(Code::SecretChanged, "somebody else was faster"));
        }
        *held = (value.expose().to_owned(), held.1 + 1);
        Ok(Self::revision(held.1))
    }

    async fn list(&self) -> Result<Vec<Listed>> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

const PIPELINE: &str = "\
pipeline: pages
extract:
  connector: ./pages.wasm
  secrets:
    token: store:token
    later: store:later
  streams: { any: {} }
";

/// A run of a connector that may have the secret of `token` used, and that of `later` not.
struct Scene {
    folder: TempDir,
    order: WorkOrder,
    drawer: Arc<Drawer>,
    desk: OrderDesk,
}

impl Scene {
    fn new() -> Self {
        Self::with(&[("token", "store:token")])
    }

    fn with(bound: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let credential = |(slot, secret): &(&str, &str)| {
            json!({
                "kind": "credential", "target": "https://example.org",
                "binding": { "slot": slot, "secret": secret, "place": "oauth2-refresh https://example.org/token me" },
            })
        };
        let order = serde_json::from_value(json!({
            "run": "r", "began": { "secs": 0, "nanos": 0 }, "pipeline": "pages",
            "component": { "name": "pages", "version": "0.1.0", "digest": "sha256:00", "path": "pages.wasm" },
            "config": {}, "secrets": { "token": "store:token", "later": "store:later" },
            "document": { "file": "pages.yaml", "text": PIPELINE, "config": ["extract", "config"] },
            "permissions": bound.iter().map(credential).collect::<Vec<_>>(), "source": [], "limits": {},
            "base": folder.path(), "data_dir": folder.path().join(".tidegate"), "task": "check",
        }));
        let order: WorkOrder = order.unwrap();
        let drawer = Arc::new(Drawer(Mutex::new((b"hush".to_vec(), 1))));
        let authorizer = Some(Authorizer::for_worker(&order).unwrap());
        let data_dir = DataDir::open(&order.data_dir).unwrap();
        let desk = OrderDesk::with(&order, data_dir, authorizer, drawer.clone());
        Self { folder, order, drawer, desk }
    }

    /// What the desk answers to a line.
    async fn answer(&self, question: &str) -> String {
        String::from_utf8(self.desk.answer(question.as_bytes()).await.to_vec()).unwrap()
    }

    fn audit(self) -> String {
        let Self { folder, desk, .. } = self;
        drop(desk);
        files::read_to_string(folder.path().join(".tidegate/audit.jsonl")).unwrap()
    }
}

const ASK: &str = r#"{"secret":"token"}"#;
/// `next`
const ROTATE: &str = r#"{"rotate":{"slot":"token","value":"bmV4dA=="}}"#;

#[tokio::test]
async fn a_bound_secret_is_given_and_that_is_recorded_without_it() {
    let scene = Scene::new();
    scene.desk.look(&scene.order).await.unwrap();
    for _ in 0..2 {
        assert_eq!(scene.answer(ASK).await, r#"{"secret":"aHVzaA=="}"#);
    }
    assert!(!format!("{:?}", scene.desk).contains("hush"));
    let audit = scene.audit();
    // By the look and by each question: none of them is only counted.
    for part in ["secret.read", "secret:store:token", "\"run\":\"r\""] {
        assert_eq!(audit.matches(part).count(), 3, "{part} in {audit}");
    }
    assert!(!audit.contains("hush") && !audit.contains("aHVzaA"), "{audit}");
}

#[tokio::test]
async fn what_is_not_granted_is_not_given() {
    let scene = Scene::new();
    for slot in ["later", "absent", "store:token"] {
        let told = scene.answer(&json!({ "secret": slot }).to_string()).await;
        assert!(told.contains("TG0301") && told.contains(&format!("bound to `{slot}`")), "{told}");
    }
    let told = scene.answer(&ROTATE.replace("token", "later")).await;
    assert!(told.contains("TG0301"), "{told}");
}

#[tokio::test]
async fn a_new_value_takes_the_place_of_the_one_that_was_given() {
    let scene = Scene::new();
    assert!(scene.answer(ROTATE).await.contains("which nobody read"));
    scene.answer(ASK).await;
    assert_eq!(scene.answer(ROTATE).await, r#""kept""#);
    assert_eq!(scene.answer(ASK).await, r#"{"secret":"bmV4dA=="}"#);
    // Another run was faster: its token is the one that counts.
    *scene.drawer.0.lock().unwrap() = (b"theirs".to_vec(), 9);
    assert!(scene.answer(ROTATE).await.contains("TG0309"));
    assert_eq!(scene.drawer.0.lock().unwrap().0, b"theirs");
    scene.answer(ASK).await;
    assert_eq!(scene.answer(ROTATE).await, r#""kept""#);
    assert!(scene.audit().contains("secret.write"));
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_with_its_line_before_the_run() {
    for (slot, secret, expected) in [
        ("later", "store:later", "TG0305: there is no secret `later` (pages.yaml:6:5)"),
        ("token", "env:TIDEGATE_TEST_ABSENT", "TG0305: there is no secret env:TIDEGATE_TEST_ABSENT"),
        ("token", "file:absent", "TG0305: there is no secret file:absent: no file "),
    ] {
        let scene = Scene::with(&[(slot, secret)]);
        let told = scene.desk.look(&scene.order).await.unwrap_err().to_string();
        assert!(told.starts_with(expected), "{told}");
        assert!(told.contains("(pages.yaml:"), "{told}");
    }
}

#[tokio::test]
async fn a_file_beside_the_pipeline_is_given_and_cannot_be_replaced() {
    let scene = Scene::with(&[("token", "file:token.txt")]);
    files::write_atomic(scene.folder.path().join("token.txt"), b"hush\n", Access::Owner).unwrap();
    assert_eq!(scene.answer(ASK).await, r#"{"secret":"aHVzaA=="}"#);
    let told = scene.answer(ROTATE).await;
    assert!(told.contains("TG0305") && told.contains("tidegate secret set NAME"), "{told}");
}

#[tokio::test]
async fn nonsense_is_refused_and_not_repeated() {
    let scene = Scene::new();
    for question in ["", "hunter2", r#"{"secret":"token","hunter2":1}"#, "\u{0}"] {
        let told = scene.answer(question).await;
        assert!(told.starts_with(r#"{"refused""#) && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn work_without_secrets_needs_no_store_and_no_key() {
    let scene = Scene::with(&[]);
    // The real store, in the folder of the order.
    let desk = OrderDesk::of(&scene.order).unwrap();
    desk.look(&scene.order).await.unwrap();
    assert!(!scene.order.data_dir.join("store").exists());
}

/// Only a token that its use renews has a new value, and a run that is being ended gets nothing.
#[tokio::test]
async fn a_password_is_not_overwritten_and_nothing_is_given_once_something_was_taken_back() {
    let mut scene = Scene::new();
    let binding = scene.order.permissions[0].binding.as_mut().unwrap();
    binding.place = "bearer".parse().unwrap();
    let data_dir = DataDir::open(&scene.order.data_dir).unwrap();
    let desk = |order: &WorkOrder| {
        let authorizer = Some(Authorizer::for_worker(order).unwrap());
        OrderDesk::with(order, data_dir.clone(), authorizer, scene.drawer.clone())
    };
    let said = async |desk: &OrderDesk, question: &str| {
        String::from_utf8(desk.answer(question.as_bytes()).await.to_vec()).unwrap()
    };
    let bearer = desk(&scene.order);
    assert!(said(&bearer, ASK).await.starts_with(r#"{"secret""#));
    let told = said(&bearer, ROTATE).await;
    assert!(told.contains("is not one that its use renews"), "{told}");
    assert_eq!(said(&bearer, r#""standing""#).await, r#""granted""#);

    // Granted once, as the order says, and not any more.
    let revoked = WorkOrder { grants: Some(scene.folder.path().join("grants.yaml")), ..scene.order.clone() };
    let revoked = desk(&revoked);
    for question in [ASK, ROTATE, r#""standing""#] {
        let told = said(&revoked, question).await;
        let expected = if question == ROTATE { "its use renews" } else { "TG0306" };
        assert!(told.contains(expected) && !told.contains(r#""secret":"#), "{question}: {told}");
    }
}
