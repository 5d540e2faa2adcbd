"""cfn-lint, AWS's linter of CloudFormation, as the judge of deploy/iam: the grammar of policies and trust policies, and by
AWS's own list whether each action exists and each resource is of a kind that its action takes.

    .venv/bin/python tests/judges/iam_judge.py
"""

import json
import os
import pathlib
import unittest

os.environ.update(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull)

from cfnlint.api import ManualArgs, lint  # noqa: E402

IAM = pathlib.Path(__file__).parents[2] / "deploy/iam"
# What a user writes in place of each word; a word comes before those that it holds.
VALUES = {
    "EXPORTER_ACCOUNT": "210987654321", "EXPORTER_ROLE": "exporter", "EXTERNAL_ID": "an-id",
    "SERVICE_ACCOUNT": "pinpoint-exporter", "NAMESPACE": "monitoring",
    "OIDC_PROVIDER": "oidc.eks.eu-west-1.amazonaws.com/id/D41D8CD98F00B204E9800998ECF8427E",
    "REGION": "eu-west-1", "ACCOUNT": "123456789012",
    "APP": "6e0b7591a90841d2b5d93fa11143e5a7", "SEGMENT": "b66c9e42f71444b2aa2e0ffc1df28f60",
}


def read(file):
    text = file.read_text()
    for word, value in VALUES.items():
        text = text.replace(word, value)
    return json.loads(text)


def judge(policy, trust):
    """What is found in a role with these two, information included."""
    role = {"Type": "AWS::IAM::Role", "Properties": {
        "AssumeRolePolicyDocument": trust,
        "Policies": [{"PolicyName": "read-export-jobs", "PolicyDocument": policy}],
    }}
    template = json.dumps({"Resources": {"Role": role}})
    found = lint(template, config=ManualArgs(include_checks=["I", "W"], regions=["eu-west-1"]))
    return [f"{each.rule.id} {each.message}" for each in found]


class Policies(unittest.TestCase):
    POLICY, TRUST = read(IAM / "segment.json"), read(IAM / "trust/ec2.json")

    def test_nothing_is_found_in_the_policies(self):
        files = sorted(IAM.glob("*.json"))
        self.assertEqual(len(files), 7)
        for file in files:
            with self.subTest(file.name):
                self.assertEqual(judge(read(file), self.TRUST), [])

    def test_nothing_is_found_in_the_trust_policies(self):
        files = sorted(IAM.glob("trust/*.json"))
        self.assertEqual(len(files), 5)
        for file in files:
            with self.subTest(file.name):
                self.assertEqual(judge(self.POLICY, read(file)), [])

    def test_what_is_wrong_is_found(self):
        def changed(document, was, wrong):
            text = json.dumps(document)
            self.assertIn(was, text)
            return json.loads(text.replace(was, wrong))

        for policy, trust, said in [
            (changed(self.POLICY, "Effect", "Affect"), self.TRUST, "'Affect'"),
            (changed(self.POLICY, "Allow", "Permit"), self.TRUST, "'Permit'"),
            (changed(self.POLICY, "2012-10-17", "2026-10-17"), self.TRUST, "'2026-10-17'"),
            (changed(self.POLICY, "ExportJobs", "ExportsJobs"), self.TRUST, "'getsegmentexportsjobs'"),
            (changed(self.POLICY, "mobiletargeting:Get", "pinpoint:Get"), self.TRUST, "'pinpoint'"),
            (changed(self.POLICY, ":apps/", ":applications/"), self.TRUST, "requires a resource of"),
            (self.POLICY, changed(self.TRUST, '"Action"', '"Resource": "*", "Action"'), "'Resource'"),
            (self.POLICY, changed(self.TRUST, '"Principal"', '"Principals"'), "'Principals'"),
        ]:
            with self.subTest(said):
                self.assertIn(said, "\n".join(judge(policy, trust)))


if __name__ == "__main__":
    unittest.main()
