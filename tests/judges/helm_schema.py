"""The definitions in the chart's schema that come from Kubernetes, and the text of the schema."""

import json

PREFIX = "io.k8s."
API = PREFIX + "api."
CORE = API + "core.v1."
META = PREFIX + "apimachinery.pkg.apis.meta.v1."

NAME = {"$ref": "#/definitions/objectName"}
LABELS = {"$ref": "#/definitions/selector"}
LABEL_NAME = {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
KEY = {"$ref": "#/definitions/dataKey"}
PORT = {"type": ["integer", "string"], "minimum": 1, "maximum": 65535,
        "pattern": "^([a-z0-9]|[a-z0-9][-a-z0-9]{0,13}[a-z0-9])$"}
ONE = {"minProperties": 1, "maxProperties": 1}

# What the API server validates beyond the types, which are all that its OpenAPI document has.
RULES = {
    PREFIX + "apimachinery.pkg.api.resource.Quantity": {
        "type": ["number", "string"], "minimum": 0,
        "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][0-9]+)?$"},
    META + "LabelSelector": {"properties": {"matchLabels": LABELS}},
    META + "LabelSelectorRequirement": {"properties": {
        "key": {"$ref": "#/definitions/qualifiedName"}, "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}}},
    CORE + "ConfigMapEnvSource": {"required": ["name"], "properties": {"name": NAME}},
    CORE + "ConfigMapKeySelector": {"required": ["name", "key"], "properties": {"name": NAME, "key": KEY}},
    CORE + "ConfigMapVolumeSource": {"required": ["name"], "properties": {"name": NAME}},
    CORE + "Container": {"required": ["name", "image"], "properties": {
        "name": LABEL_NAME, "image": {"minLength": 1, "pattern": r"^\S+$"},
        "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]}}},
    CORE + "ContainerPort": {"properties": {
        "containerPort": {"minimum": 1, "maximum": 65535}, "hostPort": {"minimum": 1, "maximum": 65535},
        "protocol": {"enum": ["TCP", "UDP", "SCTP"]}}},
    CORE + "EnvFromSource": {"properties": {"prefix": {"pattern": "^([-._a-zA-Z][-._a-zA-Z0-9]*)?$"}},
                             "oneOf": [{"required": ["configMapRef"]}, {"required": ["secretRef"]}]},
    CORE + "EnvVar": {"properties": {"name": {"pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$"}},
                      "not": {"required": ["value", "valueFrom"]}},
    CORE + "EnvVarSource": ONE,
    CORE + "HTTPGetAction": {"properties": {"port": PORT, "scheme": {"enum": ["HTTP", "HTTPS"]}}},
    CORE + "LocalObjectReference": {"required": ["name"], "properties": {"name": NAME}},
    CORE + "NodeSelectorRequirement": {"properties": {
        "key": {"$ref": "#/definitions/qualifiedName"},
        "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]}}},
    CORE + "NodeSelectorTerm": {"minProperties": 1},
    CORE + "PodDNSConfigOption": {"required": ["name"]},
    CORE + "SeccompProfile": {"properties": {"type": {"enum": ["RuntimeDefault", "Localhost", "Unconfined"]}}},
    CORE + "SecretEnvSource": {"required": ["name"], "properties": {"name": NAME}},
    CORE + "SecretKeySelector": {"required": ["name", "key"], "properties": {"name": NAME, "key": KEY}},
    CORE + "SecretVolumeSource": {"required": ["secretName"], "properties": {"secretName": NAME}},
    CORE + "TCPSocketAction": {"properties": {"port": PORT}},
    CORE + "Toleration": {"properties": {
        "key": {"$ref": "#/definitions/qualifiedName"}, "operator": {"enum": ["Exists", "Equal", "Lt", "Gt"]},
        "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]}},
        "anyOf": [{"required": ["key"]}, {"required": ["operator"], "properties": {"operator": {"const": "Exists"}}}]},
    CORE + "TopologySpreadConstraint": {"properties": {
        "maxSkew": {"minimum": 1}, "topologyKey": {"$ref": "#/definitions/qualifiedName"},
        "whenUnsatisfiable": {"enum": ["DoNotSchedule", "ScheduleAnyway"]}}},
    # A name and one source.
    CORE + "Volume": {"minProperties": 2, "maxProperties": 2, "properties": {"name": LABEL_NAME}},
    CORE + "VolumeMount": {"properties": {"name": LABEL_NAME, "mountPath": {"minLength": 1, "pattern": "^[^:]+$"}},
                           "not": {"required": ["subPath", "subPathExpr"]}},
    CORE + "VolumeProjection": ONE,
    API + "networking.v1.IPBlock": {"properties": {"cidr": {"pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"}}},
    API + "networking.v1.NetworkPolicyPeer": {
        "minProperties": 1, "if": {"required": ["ipBlock"]}, "then": {"maxProperties": 1}},
    API + "networking.v1.NetworkPolicyPort": {"properties": {"port": PORT, "protocol": {"enum": ["TCP", "UDP", "SCTP"]}}},
}


def references(schema):
    """The names of the definitions that a schema needs."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.removeprefix("#/definitions/")
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def merged(schema, rule):
    """The schema with the rule's properties in it."""
    result = {**schema, **rule}
    if "properties" in rule:
        result["properties"] = {
            name: rule["properties"].get(name, value) if "$ref" in {**value, **rule["properties"].get(name, {})}
            else {**value, **rule["properties"].get(name, {})}
            for name, value in schema["properties"].items()}
    return result


def types(schema):
    """What decides: no descriptions, no defaults, no extensions."""
    if isinstance(schema, dict):
        return {key: types(value) for key, value in schema.items()
                if not key.startswith("x-") and (isinstance(value, dict) or key not in ("description", "default", "format"))}
    return [types(each) for each in schema] if isinstance(schema, list) else schema


def kubernetes(schema, document):
    """The definitions of the API server's OpenAPI document that the schema refers to, and those that they refer to."""
    own = {name: value for name, value in schema["definitions"].items() if not name.startswith(PREFIX)}
    missing = [name for name in references([schema["properties"], own]) if name.startswith(PREFIX)]
    found = {}
    while missing:
        name = missing.pop()
        if name not in found:
            found[name] = types(document["definitions"][name])
            if "properties" in found[name]:
                found[name]["additionalProperties"] = False
            found[name] = merged(found[name], RULES.get(name, {}))
            missing += [each for each in references(found[name]) if each.startswith(PREFIX)]
    if unused := set(RULES) - set(found):
        raise AssertionError(f"no value of the chart needs {sorted(unused)}")
    return dict(sorted(found.items()))


def text(schema):
    """The schema, with what is short on one line, and each definition of Kubernetes on one."""
    def write(value, indent, name=""):
        line = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, (dict, list)) or len(indent) + len(name) + len(line) <= 120 or name.startswith(PREFIX):
            return line
        deeper = indent + "  "
        if isinstance(value, list):
            return "[\n" + ",\n".join(deeper + write(each, deeper) for each in value) + f"\n{indent}]"
        members = (f"{deeper}{json.dumps(key)}: {write(each, deeper, key)}" for key, each in value.items())
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"

    return write(schema, "") + "\n"
