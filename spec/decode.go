package spec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxNesting is far more than any spec needs.
const maxNesting = 16

// DecodeApps reads the apps of a file: YAML or JSON, several YAML documents separated by "---". Reading is strict: an unknown
// or duplicate key, a wrong type, text that is not UTF-8, deep nesting and a file over MaxSpecBytes are errors that name the
// field. The apps are as written, neither validated nor with defaults. A fault is an *Invalid; with several documents it is
// wrapped in an error that says which document, and the documents' errors are joined.
func DecodeApps(data []byte) ([]App, error) {
	docs, err := documents(data)
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, errors.New("no app: the file is empty")
	}
	var (
		apps  []App
		errs  []error
		first = map[string]int{}
	)
	for i, doc := range docs {
		a, err := decodeStrict[App](doc)
		if other, found := first[a.Name]; err == nil && found {
			err = &Invalid{Faults: []Fault{{Field: "name", Detail: fmt.Sprintf("%s: already in document %d", quoteShort(a.Name), other)}}}
		}
		if err != nil && len(docs) > 1 {
			err = fmt.Errorf("document %d: %w", i+1, err)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if a.Name != "" {
			first[a.Name] = i + 1
		}
		apps = append(apps, a)
	}
	switch len(errs) {
	case 0:
		return apps, nil
	case 1:
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

// DecodePolicy reads one policy as strictly as DecodeApps reads apps. The policy is as written, neither validated nor with
// defaults. A file that says nothing is an error and not the policy that switches everything off.
func DecodePolicy(data []byte) (Policy, error) {
	docs, err := documents(data)
	if err != nil {
		return Policy{}, err
	}
	switch len(docs) {
	case 0:
		return Policy{}, errors.New("no policy: the file is empty; write {} to switch every rule off")
	case 1:
		return decodeStrict[Policy](docs[0])
	}
	return Policy{}, fmt.Errorf("%d documents: want one policy", len(docs))
}

func decodeStrict[T any](doc jsontext.Value) (T, error) {
	var (
		v, zero T
		f       faults
	)
	if !checkStructure(&f, doc) {
		return zero, f.err()
	}
	root := reflect.TypeFor[T]()
	shape{root: root, faults: &f}.value(doc, root, "")
	if len(f) > 0 {
		return zero, f.err()
	}
	// The walk above has found every fault that it knows of; this is the decoder's own word on the rest.
	if err := json.Unmarshal(doc, &v, json.RejectUnknownMembers(true)); err != nil {
		var semantic *json.SemanticError
		if errors.As(err, &semantic) {
			f.addf(pointerPath(semantic.JSONPointer), "%s", leafDetail(err))
			return zero, f.err()
		}
		f.check("", err)
		return zero, f.err()
	}
	return v, nil
}

// checkStructure finds duplicate keys and too deep nesting; the document is valid JSON but for these.
func checkStructure(f *faults, doc jsontext.Value) bool {
	dec := jsontext.NewDecoder(bytes.NewReader(doc))
	for {
		_, err := dec.ReadToken()
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			var syntactic *jsontext.SyntacticError
			path := ""
			if errors.As(err, &syntactic) {
				path = pointerPath(syntactic.JSONPointer)
			}
			f.addf(path, "given twice")
			return false
		case err != nil:
			return len(*f) == 0 // the end: the caller passes whole documents only
		case dec.StackDepth() > maxNesting:
			f.addf(pointerPath(dec.StackPointer()), "nested deeper than %d levels", maxNesting)
			return false
		}
	}
}

// pointerPath turns a JSON pointer into the notation of Fault.Field.
func pointerPath(p jsontext.Pointer) string {
	path := ""
	for token := range p.Tokens() {
		if isDigits(token) {
			path += "[" + token + "]"
		} else {
			path = member(path, token)
		}
	}
	return path
}
