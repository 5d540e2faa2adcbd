"""cfn-lint, Terraform, promtool, moto and the exporter as the judges of deploy/ecs and deploy/otel.

    .venv/bin/python tests/judges/ecs_judge.py target/debug/pinpoint-exporter target/debug/fake-pinpoint

The CloudFormation template and the Terraform module must make the same containers and roles, with the policies of deploy/iam.
Terraform (or OpenTofu) evaluates the module if it is installed. It cannot check resources against AWS's provider here, since that
comes from a registry of its own; python-hcl2 parses all files in any case.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

os.environ.update(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull)

import boto3  # noqa: E402
import hcl2  # noqa: E402
import moto  # noqa: E402
import yaml  # noqa: E402
from cfnlint.api import ManualArgs, lint  # noqa: E402
from cfnlint.decode import decode_str  # noqa: E402

from limits import HANG_LIMIT  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/live"))
from stack import ACCESS_KEY, Stack  # noqa: E402

EXPORTER = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter").resolve()
FAKE = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint").resolve()
ECS, IAM, OTEL = (ROOT / "deploy" / name for name in ("ecs", "iam", "otel"))
TEMPLATE = ECS / "cloudformation.yaml"
MODULE = ECS / "terraform"
TERRAFORM = shutil.which("terraform") or shutil.which("tofu")
REGION, ACCOUNT = "eu-west-1", "123456789012"
# In the fake's demo.
APP, SEGMENT = "6e0b7591a90841d2b5d93fa11143e5a7", "b66c9e42f71444b2aa2e0ffc1df28f60"
WATCH = ["segment", "segments-of-an-application", "all-segments", "application", "all-applications"]
WORKSPACE = "ws-01234567"
NOTHING = object()


def policy(file):
    """A document of deploy/iam with the values of these tests."""
    text = (IAM / file).read_text()
    for word, value in {"REGION": REGION, "ACCOUNT": ACCOUNT, "APP": APP, "SEGMENT": SEGMENT}.items():
        text = text.replace(word, value)
    return json.loads(text)


def template():
    document, errors = decode_str(TEMPLATE.read_text())
    assert not errors, errors
    return json.loads(json.dumps(document))


class Stacked:
    """What CloudFormation makes of the template with these parameters. `GetAtt` gives the name of resource and attribute."""

    def __init__(self, **parameters):
        self.template = template()
        defaults = {name: each.get("Default", name) for name, each in self.template["Parameters"].items()}
        assert not set(parameters) - set(defaults), parameters
        self.values = {
            **defaults, **parameters, "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": NOTHING,
        }
        self.resources = {
            name: self.resolve(each["Properties"]) for name, each in self.template["Resources"].items()
            if "Condition" not in each or self.condition(each["Condition"])
        }

    def condition(self, name):
        return self.resolve(self.template["Conditions"][name])

    def resolve(self, value):
        if isinstance(value, list):
            return [each for each in map(self.resolve, value) if each is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            match function:
                case "Ref":
                    return self.values.get(argument, argument)
                case "Fn::Sub":
                    return re.sub(r"\$\{([\w:]+)\}", lambda found: self.values[found[1]], argument)
                case "Fn::GetAtt":
                    return ".".join(argument)
                case "Fn::Equals":
                    first, second = self.resolve(argument)
                    return first == second
                case "Fn::Not":
                    return not self.resolve(argument[0])
                case "Fn::If":
                    return self.resolve(argument[1 if self.condition(argument[0]) else 2])
                case _ if function.startswith("Fn::"):
                    raise AssertionError(f"the test does not know {function}")
        resolved = {name: self.resolve(each) for name, each in value.items()}
        return {name: each for name, each in resolved.items() if each is not NOTHING}

    def policies(self, role):
        return {each["PolicyName"]: each["PolicyDocument"] for each in self.resources[role]["Policies"]}

    def containers(self):
        return {each["Name"]: each for each in self.resources["TaskDefinition"]["ContainerDefinitions"]}


def parameters(watch):
    """Those that a value of Watch needs."""
    given = {"Watch": watch}
    if not watch.startswith("all-"):
        given["ApplicationId"] = APP
    if watch == "segment":
        given["SegmentId"] = SEGMENT
    return given


def variables(container):
    return {each["Name"]: each["Value"] for each in container["Environment"]}


def findings(text):
    found = lint(text, config=ManualArgs(include_checks=["I", "W"], regions=[REGION]))
    return [f"{each.rule.id} {each.message}" for each in found]


class CloudFormation(unittest.TestCase):
    def test_cfn_lint_finds_nothing_but_what_is_wrong(self):
        text = TEMPLATE.read_text()
        self.assertEqual(findings(text), [])
        for was, wrong, said in [
            ("HealthCheck:", "HealtCheck:", "HealtCheck"),
            ("!GetAtt TaskRole.Arn", "!GetAtt TaskRol.Arn", "TaskRol"),
            ("mobiletargeting:GetApps", "mobiletargeting:GetApplications", "getapplications"),
            ('Memory: "512"', 'Memory: "100"', "100"),
        ]:
            with self.subTest(said):
                self.assertIn(was, text)
                self.assertIn(said, "\n".join(findings(text.replace(was, wrong))))

    def test_the_template_has_no_aliases_which_cloudformation_does_not_read(self):
        self.assertFalse([token for token in yaml.scan(TEMPLATE.read_text()) if isinstance(token, (yaml.AliasToken, yaml.AnchorToken))])

    def test_the_task_role_has_the_policy_of_what_it_watches_and_no_other(self):
        self.assertEqual(template()["Parameters"]["Watch"]["AllowedValues"], WATCH)
        # The template neither assumes roles nor sets NAMES=all.
        self.assertEqual({f"{watch}.json" for watch in WATCH} | {"assume-roles.json", "names.json"}, {file.name for file in IAM.glob("*.json")})
        for watch in WATCH:
            with self.subTest(watch):
                stack = Stacked(**parameters(watch))
                self.assertEqual(stack.policies("TaskRole"), {watch: policy(f"{watch}.json")})

    def test_the_roles_trust_only_tasks_of_this_account(self):
        stack = Stacked(**parameters("segment"))
        for role in ("TaskRole", "ExecutionRole"):
            self.assertEqual(stack.resources[role]["AssumeRolePolicyDocument"], policy("trust/ecs.json"))

    def test_the_execution_role_may_only_write_the_log(self):
        (only,) = Stacked(**parameters("segment")).policies("ExecutionRole").values()
        (statement,) = only["Statement"]
        self.assertEqual(statement["Action"], ["logs:CreateLogStream", "logs:PutLogEvents"])
        self.assertEqual(statement["Resource"], "LogGroup.Arn")

    def test_the_exporter_takes_its_environment_and_reads_every_target(self):
        with Stack(FAKE, EXPORTER) as stack:
            fake = stack.fake("--region", REGION)
            for watch in WATCH:
                with self.subTest(watch):
                    container = Stacked(**parameters(watch), PinpointEndpointUrl=fake.url).containers()["pinpoint-exporter"]
                    ended = subprocess.run(
                        [EXPORTER, "check"], capture_output=True, text=True, timeout=HANG_LIMIT,
                        env={**variables(container), "AWS_ACCESS_KEY_ID": ACCESS_KEY["access_key_id"],
                             "AWS_SECRET_ACCESS_KEY": ACCESS_KEY["secret_access_key"], "NO_PROXY": "*"})
                    self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_ecs_checks_the_health_as_the_image_does(self):
        (options, command), = re.findall(r"^HEALTHCHECK (.*) CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        image = dict(option.removeprefix("--").split("=") for option in options.split())
        self.assertEqual(Stacked(**parameters("segment")).containers()["pinpoint-exporter"]["HealthCheck"], {
            "Command": ["CMD", *json.loads(command)], "Retries": int(image["retries"]), "Interval": int(image["interval"][:-1]),
            "Timeout": int(image["timeout"][:-1]), "StartPeriod": int(image["start-period"][:-1]),
        })

    def test_the_port_is_closed_until_a_scraper_is_named(self):
        closed = Stacked(**parameters("segment")).resources["SecurityGroup"]
        self.assertNotIn("SecurityGroupIngress", closed)
        (rule,) = Stacked(**parameters("segment"), ScraperSecurityGroup="sg-1").resources["SecurityGroup"]["SecurityGroupIngress"]
        self.assertEqual((rule["FromPort"], rule["ToPort"], rule["SourceSecurityGroupId"]), (9787, 9787, "sg-1"))

    def test_the_collector_is_there_only_with_a_workspace_and_may_only_write_to_it(self):
        self.assertEqual(set(Stacked(**parameters("segment")).containers()), {"pinpoint-exporter"})
        stack = Stacked(**parameters("segment"), ManagedPrometheusWorkspaceId=WORKSPACE)
        self.assertEqual(set(stack.containers()), {"pinpoint-exporter", "collector"})
        (statement,) = stack.policies("TaskRole")["write-metrics"]["Statement"]
        self.assertEqual(
            (statement["Action"], statement["Resource"]),
            ("aps:RemoteWrite", f"arn:aws:aps:{REGION}:{ACCOUNT}:workspace/{WORKSPACE}"))

    def test_a_name_in_dns_only_with_a_namespace(self):
        self.assertNotIn("ServiceRegistries", Stacked(**parameters("segment")).resources["Service"])
        named = Stacked(**parameters("segment"), DnsNamespaceId="ns-1").resources
        self.assertEqual(named["Service"]["ServiceRegistries"], [{"RegistryArn": "DiscoveryService.Arn"}])


def camel(value):
    """A container definition of CloudFormation in the case of ECS's own API. Names of options and variables stay."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name[0].lower() + name[1:]: each if name == "Options" else camel(each) for name, each in value.items()}


class Terraform(unittest.TestCase):
    def test_every_file_is_hcl_and_every_variable_is_used_and_explained(self):
        files = {file.name: hcl2.loads(file.read_text()) for file in MODULE.glob("*.tf")}
        self.assertEqual(set(files), {"versions.tf", "variables.tf", "locals.tf", "main.tf", "outputs.tf"})
        text = "".join(file.read_text() for file in MODULE.glob("*.tf") if file.name != "variables.tf")
        declared = [each for block in files["variables.tf"]["variable"] for each in block.items()]
        self.assertGreater(len(declared), 10)
        for name, body in declared:
            with self.subTest(name):
                self.assertIn("description", body)
                self.assertRegex(text, rf"\bvar\.{name.strip(chr(34))}\b")
        for used in set(re.findall(r"\bvar\.(\w+)", text)):
            self.assertIn(used, [name.strip('"') for name, _ in declared])

    def test_both_have_the_same_parameters(self):
        """But for the names of resources, tags, and settings, which a list of CloudFormation cannot hold."""
        ours = {"name", "settings", "tags"}
        renamed = {"subnets": "subnet_ids", "scraper_security_group": "scraper_security_group_id", "pinpoint_endpoint_url": "endpoint_url"}
        theirs = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in template()["Parameters"]}
        declared = {name.strip('"') for block in hcl2.loads((MODULE / "variables.tf").read_text())["variable"] for name in block}
        self.assertEqual({renamed.get(name, name) for name in theirs} | ours, declared)

    @unittest.skipUnless(TERRAFORM, "neither terraform nor tofu is installed")
    def test_terraform_makes_the_containers_and_policies_of_the_template(self):
        for watch in WATCH:
            for workspace in ["", WORKSPACE]:
                with self.subTest(watch=watch, workspace=workspace):
                    stack = Stacked(**parameters(watch), ManagedPrometheusWorkspaceId=workspace)
                    made = self.evaluate(watch, workspace)
                    self.assertEqual(json.loads(made["documents"]["trust"]), policy("trust/ecs.json"))
                    self.assertEqual(json.loads(made["documents"]["read"]), policy(f"{watch}.json"))
                    if workspace:
                        self.assertEqual(made["write_metrics"], stack.policies("TaskRole")["write-metrics"])
                    expected = {name: camel(each) for name, each in stack.containers().items()}
                    for each in made["container_definitions"]:
                        with_group = each["logConfiguration"]["options"]
                        self.assertEqual(with_group["awslogs-group"], "pinpoint-exporter")
                        with_group["awslogs-group"] = "LogGroup"
                    self.assertEqual({each["name"]: each for each in made["container_definitions"]}, expected)

    @unittest.skipUnless(TERRAFORM, "neither terraform nor tofu is installed")
    def test_terraform_would_not_format_it_otherwise(self):
        ended = subprocess.run(
            [TERRAFORM, "fmt", "-check", "-diff", MODULE], capture_output=True, text=True, timeout=HANG_LIMIT, env=quiet())
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def evaluate(self, watch, workspace):
        """The locals of the module, without the provider: account, region and partition are given in its place."""
        given = {"vpc_id": "vpc-1", "subnet_ids": ["subnet-1"], "watch": watch, "managed_prometheus_workspace_id": workspace}
        for name, parameter in {"application_id": "ApplicationId", "segment_id": "SegmentId"}.items():
            given[name] = parameters(watch).get(parameter, "")
        with tempfile.TemporaryDirectory() as folder:
            deploy = pathlib.Path(folder) / "deploy"
            shutil.copytree(IAM, deploy / "iam")
            module = deploy / "ecs/terraform"
            module.mkdir(parents=True)
            for name in ("variables.tf", "locals.tf", "collector.yaml"):
                shutil.copy(MODULE / name, module)
            (module / "aws.tf.json").write_text(json.dumps({"locals": {"aws": {
                "partition": "aws", "dns_suffix": "amazonaws.com", "region": REGION, "account": ACCOUNT}}}))
            (module / "given.auto.tfvars.json").write_text(json.dumps(given))
            ended = subprocess.run(
                [TERRAFORM, "console"], cwd=module, capture_output=True, text=True, timeout=HANG_LIMIT, env=quiet(),
                input="jsonencode({container_definitions = local.container_definitions, documents = local.documents, "
                      "write_metrics = local.write_metrics})\n")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(json.loads(ended.stdout))


def quiet():
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}


def filled(text):
    """A collector's configuration with the defaults of its variables."""
    return re.sub(r"\$\{env:\w+(?::-([^}]*))?\}", lambda found: found[1] or REGION, text)


class ManagedPrometheus(unittest.TestCase):
    @moto.mock_aws
    def test_the_page_uploads_every_rules_file(self):
        client = boto3.client("amp", REGION, aws_access_key_id="key", aws_secret_access_key="secret")
        workspace = client.create_workspace()["workspaceId"]
        text = re.sub(r" *\\\n *", " ", (ECS / "README.md").read_text())
        uploads = re.findall(r"^aws amp create-rule-groups-namespace (.*)$", text, re.MULTILINE)
        for upload in uploads:
            words = shlex.split(upload)
            options = dict(zip(words[::2], words[1::2], strict=True))
            self.assertEqual(set(options), {"--workspace-id", "--name", "--data"})
            file = ECS / options["--data"].removeprefix("fileb://")
            client.create_rule_groups_namespace(workspaceId=workspace, name=options["--name"], data=file.read_bytes())
        rules = ROOT / "deploy/prometheus/rules"
        named = client.list_rule_groups_namespaces(workspaceId=workspace)["ruleGroupsNamespaces"]
        self.assertEqual({each["name"] for each in named}, {file.stem for file in rules.glob("*.yaml")})
        for each in named:
            found = client.describe_rule_groups_namespace(workspaceId=workspace, name=each["name"])["ruleGroupsNamespace"]
            self.assertEqual(found["data"], (rules / f"{each['name']}.yaml").read_bytes(), "the name is that of the file")


class Scrapes(unittest.TestCase):
    def configurations(self):
        """The scrape configurations, by the file that has them."""
        collector = Stacked(**parameters("segment"), ManagedPrometheusWorkspaceId=WORKSPACE).containers()["collector"]
        collectors = {
            "the collector of the template": yaml.safe_load(variables(collector)["COLLECTOR_CONFIG"]),
            **{file.name: yaml.safe_load(filled(file.read_text())) for file in OTEL.glob("*.yaml")},
        }
        self.assertEqual(len(collectors), 3)
        found = {name: each["receivers"]["prometheus"]["config"] for name, each in collectors.items()}
        found["prometheus.yml"] = yaml.safe_load((ECS / "prometheus.yml").read_text())
        return collectors, found

    def test_promtool_takes_every_scrape_configuration(self):
        for name, configuration in self.configurations()[1].items():
            with self.subTest(name), tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
                yaml.safe_dump(configuration, file)
                file.flush()
                ended = subprocess.run(
                    ["promtool", "check", "config", file.name], capture_output=True, text=True, timeout=HANG_LIMIT)
                self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_every_scrape_has_the_figures_of_prometheus_yml(self):
        (right,) = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
        for name, configuration in self.configurations()[1].items():
            (scrape,) = configuration["scrape_configs"]
            for figure in ("job_name", "scrape_interval", "scrape_timeout", "sample_limit"):
                with self.subTest(name, figure=figure):
                    self.assertEqual(scrape[figure], right[figure])

    def test_every_pipeline_uses_all_components_that_are_configured(self):
        for name, collector in self.configurations()[0].items():
            (pipeline,) = collector["service"]["pipelines"].values()
            for kind in ("receivers", "processors", "exporters"):
                with self.subTest(name, kind=kind):
                    self.assertEqual(pipeline[kind], list(collector[kind]))
            self.assertEqual(collector["service"].get("extensions", []), list(collector.get("extensions", {})))
            self.assertEqual(pipeline["processors"][0], "memory_limiter")

    def test_cloudwatch_gets_metrics_and_dimensions_that_there_are(self):
        golden = (ROOT / "tests/it/golden/metrics.txt").read_text()
        labels = {}
        for metric, found in re.findall(r"^(pinpoint_\w+)\{(.*)\} ", golden, re.MULTILINE):
            labels.setdefault(metric, set()).update(re.findall(r'(\w+)="', found))
        collector = self.configurations()[0]["cloudwatch.yaml"]
        (scrape,) = collector["receivers"]["prometheus"]["config"]["scrape_configs"]
        (keep,) = scrape["metric_relabel_configs"]
        kept = {metric for metric in labels if re.fullmatch(keep["regex"], metric)}
        self.assertEqual(len(kept), 4)
        declared = set()
        for declaration in collector["exporters"]["awsemf"]["metric_declarations"]:
            for selector in declaration["metric_name_selectors"]:
                selected = {metric for metric in kept if re.search(selector, metric)}
                self.assertTrue(selected, selector)
                declared |= selected
                for metric in selected:
                    for dimensions in declaration["dimensions"]:
                        self.assertLessEqual(set(dimensions), labels[metric])
        self.assertEqual(declared, kept)


if __name__ == "__main__":
    unittest.main()
