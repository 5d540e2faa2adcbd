// Judge reads a JSON array and writes what the API server would say to each element, as a JSON array of arrays of findings.
// An element is an object to create, or an array of two: one that exists, as the last release of Helm made it, and the one
// that an upgrade makes of it, which is tried as Helm 3 (a three-way merge) and Helm 4 (a server-side apply) send it.
//
// The findings are unknown fields and wrong types (strict decoding), everything that the API server validates, the schema
// of custom resources (the program's arguments are files of CustomResourceDefinitions), and the Pod Security level
// `restricted`. All of it is the API server's own code.
package main

import (
	"context"
	"encoding/json"
	"errors"
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
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// A version of a custom resource.
type customResource struct {
	structural *schema.Structural
	validator  crvalidation.SchemaValidator
}

// What the API server does with objects of a kind.
type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

var strategies = map[string]strategy{
	"ConfigMap":           configmap.Strategy,
	"Deployment":          deployment.Strategy,
	"NetworkPolicy":       networkpolicy.Strategy,
	"Pod":                 pod.Strategy,
	"PodDisruptionBudget": poddisruptionbudget.Strategy,
	"Secret":              secret.Strategy,
	"Service":             service.Strategy,
	"ServiceAccount":      serviceaccount.Strategy,
	"StatefulSet":         statefulset.Strategy,
}

func main() {
	log.SetFlags(0)
	resources := map[string]customResource{}
	for _, path := range os.Args[1:] {
		must(read(path, resources))
	}
	var elements []json.RawMessage
	must(json.NewDecoder(os.Stdin).Decode(&elements))
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	must(err)
	judge := judge{resources, checks}
	findings := make([][]string, len(elements))
	for i, element := range elements {
		if element[0] == '[' {
			var pair [2]json.RawMessage
			must(json.Unmarshal(element, &pair))
			findings[i] = judge.upgrade(pair[0], pair[1])
		} else {
			findings[i] = judge.create(element)
		}
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

type judge struct {
	resources map[string]customResource
	checks    policy.Evaluator
}

// create says what keeps the object from being created.
func (j judge) create(text []byte) []string {
	custom := unstructured.Unstructured{}
	if err := custom.UnmarshalJSON(text); err != nil {
		return []string{err.Error()}
	}
	if resource, ok := j.resources[custom.GetAPIVersion()+" "+custom.GetKind()]; ok {
		return resource.judge(&custom)
	}
	object, err := decode(text)
	if err != nil {
		return []string{err.Error()}
	}
	findings := j.security(object)
	if _, err := apply(nil, &custom); err != nil {
		findings = append(findings, "server-side apply: "+err.Error())
	}
	internal, err := internal(object)
	if err != nil {
		return append(findings, err.Error())
	}
	strategy, ok := strategies[custom.GetKind()]
	if !ok {
		return append(findings, "the judge knows no "+custom.GetKind())
	}
	accessor, err := meta.Accessor(internal)
	must(err)
	rest.FillObjectMetaSystemFields(accessor)
	if err := rest.BeforeCreate(strategy, request(&custom), internal); err != nil {
		findings = append(findings, err.Error())
	}
	return findings
}

// upgrade says what keeps the second object from replacing the first one, with either version of Helm.
func (j judge) upgrade(before, after []byte) []string {
	var old, new unstructured.Unstructured
	if err := errors.Join(old.UnmarshalJSON(before), new.UnmarshalJSON(after)); err != nil {
		return []string{err.Error()}
	}
	strategy, ok := strategies[new.GetKind()]
	if !ok {
		return []string{}
	}
	findings := []string{}
	try := func(name string, send func() (runtime.Object, runtime.Object, error)) {
		live, sent, err := send()
		if err == nil {
			err = update(strategy, &new, live, sent)
		}
		if err != nil {
			findings = append(findings, name+": "+err.Error())
		}
	}
	try("Helm 3", func() (runtime.Object, runtime.Object, error) { return merge(before, after) })
	try("Helm 4", func() (runtime.Object, runtime.Object, error) {
		live, err := apply(nil, &old)
		if err != nil {
			return nil, nil, err
		}
		sent, err := apply(live, &new)
		return live, sent, err
	})
	return findings
}

func (resource customResource) judge(object *unstructured.Unstructured) []string {
	findings := []string{}
	for _, err := range crvalidation.ValidateCustomResource(nil, object.Object, resource.validator) {
		findings = append(findings, err.Error())
	}
	unknown := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object.DeepCopy().Object, resource.structural, true, unknown) {
		findings = append(findings, fmt.Sprintf("unknown field %q", path))
	}
	for _, err := range validation.ValidateObjectMetaAccessor(object, true, validation.NameIsDNSSubdomain, field.NewPath("metadata")) {
		findings = append(findings, err.Error())
	}
	return findings
}

func (j judge) security(object runtime.Object) []string {
	metadata, spec := podOf(object)
	findings := []string{}
	if spec == nil {
		return findings
	}
	level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for _, result := range j.checks.EvaluatePod(level, metadata, spec) {
		if !result.Allowed {
			findings = append(findings, fmt.Sprintf("restricted: %s: %s", result.ForbiddenReason, result.ForbiddenDetail))
		}
	}
	return findings
}

func podOf(object runtime.Object) (*metav1.ObjectMeta, *corev1.PodSpec) {
	switch workload := object.(type) {
	case *corev1.Pod:
		return &workload.ObjectMeta, &workload.Spec
	case *appsv1.Deployment:
		return &workload.Spec.Template.ObjectMeta, &workload.Spec.Template.Spec
	case *appsv1.StatefulSet:
		return &workload.Spec.Template.ObjectMeta, &workload.Spec.Template.Spec
	}
	return nil, nil
}

// decode is strict: an unknown field is an error.
func decode(text []byte) (runtime.Object, error) {
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	object, _, err := codecs.UniversalDeserializer().Decode(text, nil, nil)
	return object, err
}

// internal is the object with its defaults, as the API server validates it.
func internal(object runtime.Object) (runtime.Object, error) {
	object = object.DeepCopyObject()
	legacyscheme.Scheme.Default(object)
	if service, ok := object.(*corev1.Service); ok && service.Spec.ClusterIP != "" {
		// The API server does so when it allocates addresses, which is no part of the validation.
		service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	}
	return legacyscheme.Scheme.ConvertToVersion(object, runtime.InternalGroupVersioner)
}

// request is the context of a request for the object.
func request(object *unstructured.Unstructured) context.Context {
	kind := object.GroupVersionKind()
	info := &genericapirequest.RequestInfo{IsResourceRequest: true, APIGroup: kind.Group, APIVersion: kind.Version}
	context := genericapirequest.WithNamespace(genericapirequest.NewContext(), object.GetNamespace())
	return genericapirequest.WithRequestInfo(context, info)
}

// stored is the object as the API server has it once it was created: with defaults and a version.
func stored(object runtime.Object) error {
	legacyscheme.Scheme.Default(object)
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	accessor.SetUID("1")
	accessor.SetResourceVersion("1")
	return nil
}

// merge is what Helm 3 does: a three-way merge of the two manifests and the object that exists.
func merge(before, after []byte) (runtime.Object, runtime.Object, error) {
	live, err := decode(before)
	if err != nil {
		return nil, nil, err
	}
	kind := live.GetObjectKind().GroupVersionKind()
	if err := stored(live); err != nil {
		return nil, nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, nil, err
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(live)
	if err != nil {
		return nil, nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(before, after, current, schema, true)
	if err != nil {
		return nil, nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(current, patch, live)
	if err != nil {
		return nil, nil, err
	}
	sent, err := legacyscheme.Scheme.New(kind)
	if err != nil {
		return nil, nil, err
	}
	return live, sent, json.Unmarshal(merged, sent)
}

// apply is what Helm 4 does: a server-side apply, here to an object that exists or to none.
func apply(live runtime.Object, object *unstructured.Unstructured) (runtime.Object, error) {
	kind := object.GroupVersionKind()
	scheme := legacyscheme.Scheme
	types := applyconfigurations.NewTypeConverter(scheme)
	manager, err := managedfields.NewDefaultFieldManager(types, scheme, scheme, scheme, kind, kind.GroupVersion(), "", nil)
	if err != nil {
		return nil, err
	}
	if live == nil {
		live, err = legacyscheme.Scheme.New(kind)
		if err != nil {
			return nil, err
		}
		live.GetObjectKind().SetGroupVersionKind(kind)
	}
	applied, err := manager.Apply(live, object, "helm", true)
	if err != nil {
		return nil, err
	}
	return applied, stored(applied)
}

func update(strategy strategy, object *unstructured.Unstructured, live, sent runtime.Object) error {
	old, err := internal(live)
	if err != nil {
		return err
	}
	new, err := internal(sent)
	if err != nil {
		return err
	}
	return rest.BeforeUpdate(strategy, request(object), new, old)
}
