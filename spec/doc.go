// Package spec is what people declare: names, labels, label selectors, app specs and policy, as data.
//
// Everything here is pure: parsing is strict (an unknown key, a duplicate key or a wrong type is an error that names the
// field), validation reports every fault it finds and not the first only, and a value that passed validation can travel in an
// event. The package imports nothing else of the project.
package spec
