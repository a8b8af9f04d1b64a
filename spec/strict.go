package spec

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// DecodeStrict reads one JSON document of at most max bytes into a T as strictly as DecodeApps reads apps: an unknown or duplicate
// key, a wrong type and text that is not UTF-8 are errors that name the field. A short document may be YAML.
func DecodeStrict[T any](data []byte, max int) (T, error) {
	var zero T
	if len(data) > max {
		return zero, fmt.Errorf("the file has more than %d bytes", max)
	}
	if len(data) <= MaxSpecBytes {
		docs, err := documents(data)
		switch {
		case err != nil:
			return zero, err
		case len(docs) == 1:
			return decodeStrict[T](docs[0])
		}
		return zero, fmt.Errorf("%d documents: want one", len(docs))
	}
	if at := invalidUTF8(data); at >= 0 {
		return zero, fmt.Errorf("byte %d is not UTF-8 text", at+1)
	}
	if v := jsontext.Value(data); !v.IsValid(jsontext.AllowDuplicateNames(true)) {
		return zero, fmt.Errorf("want one JSON document (YAML is read up to %d bytes)", MaxSpecBytes)
	}
	return decodeStrict[T](jsontext.Value(data))
}

// CheckRules reports what is wrong with the rules of placement of an app, and with nothing else of it.
func (a App) CheckRules() error {
	var f faults
	f.check("name", ValidateName("app", a.Name))
	a.checkRules(&f)
	return f.err()
}
