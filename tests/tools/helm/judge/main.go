// Judge reads a JSON array of Kubernetes objects and writes what the API server would say to each, as a JSON array of
// arrays of findings: unknown fields and wrong types (strict decoding), names and labels, the schema of custom resources
// (its arguments are files of CustomResourceDefinitions), and the Pod Security level `restricted`. All of it is the API
// server's own code; only the rules of single fields (k8s.io/kubernetes) are missing, since that is no library.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	crvalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/scheme"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// A version of a custom resource.
type customResource struct {
	structural *schema.Structural
	validator  crvalidation.SchemaValidator
}

func main() {
	log.SetFlags(0)
	resources := map[string]customResource{}
	for _, path := range os.Args[1:] {
		must(read(path, resources))
	}
	var objects []json.RawMessage
	must(json.NewDecoder(os.Stdin).Decode(&objects))
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	must(err)
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	findings := make([][]string, len(objects))
	for i, object := range objects {
		findings[i] = judge(object, resources, strict, checks)
	}
	must(json.NewEncoder(os.Stdout).Encode(findings))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// read adds the versions of a CustomResourceDefinition.
func read(path string, resources map[string]customResource) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &definition); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, version := range definition.Spec.Versions {
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
			version.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		structural, err := schema.NewStructural(&props)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		validator, _, err := crvalidation.NewSchemaValidator(&props)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		name := definition.Spec.Group + "/" + version.Name + " " + definition.Spec.Names.Kind
		resources[name] = customResource{structural, validator}
	}
	return nil
}

func judge(text []byte, resources map[string]customResource, strict runtime.Decoder, checks policy.Evaluator) []string {
	findings := []string{}
	custom := unstructured.Unstructured{}
	if err := custom.UnmarshalJSON(text); err != nil {
		return append(findings, err.Error())
	}
	var object runtime.Object = &custom
	if resource, ok := resources[custom.GetAPIVersion()+" "+custom.GetKind()]; ok {
		for _, err := range crvalidation.ValidateCustomResource(nil, custom.Object, resource.validator) {
			findings = append(findings, err.Error())
		}
		unknown := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
		for _, path := range pruning.PruneWithOptions(custom.DeepCopy().Object, resource.structural, true, unknown) {
			findings = append(findings, fmt.Sprintf("unknown field %q", path))
		}
	} else {
		decoded, _, err := strict.Decode(text, nil, nil)
		if err != nil {
			findings = append(findings, err.Error())
		}
		if decoded == nil {
			return findings
		}
		object = decoded
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return append(findings, err.Error())
	}
	name := validation.NameIsDNSSubdomain
	if custom.GetKind() == "Service" {
		name = validation.NameIsDNS1035Label
	}
	for _, err := range validation.ValidateObjectMetaAccessor(accessor, true, name, field.NewPath("metadata")) {
		findings = append(findings, err.Error())
	}
	if metadata, spec := pod(object); spec != nil {
		level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
		for _, result := range checks.EvaluatePod(level, metadata, spec) {
			if !result.Allowed {
				findings = append(findings, fmt.Sprintf("restricted: %s: %s", result.ForbiddenReason, result.ForbiddenDetail))
			}
		}
	}
	return findings
}

// pod is the Pod of a workload.
func pod(object runtime.Object) (*metav1.ObjectMeta, *corev1.PodSpec) {
	switch workload := object.(type) {
	case *appsv1.Deployment:
		return &workload.Spec.Template.ObjectMeta, &workload.Spec.Template.Spec
	case *appsv1.StatefulSet:
		return &workload.Spec.Template.ObjectMeta, &workload.Spec.Template.Spec
	}
	return nil, nil
}
