package spec

// Rules is everything of an app that says where it may run and where it would rather.
type Rules struct {
	Require     []string     `json:"require,omitempty"`
	Prefer      []Preference `json:"prefer,omitempty"`
	OnNodes     []string     `json:"on_nodes,omitempty"`
	WithApp     []string     `json:"with_app,omitempty"`
	AwayFromApp []string     `json:"away_from_app,omitempty"`
	SpreadOver  []SpreadOver `json:"spread_over,omitempty"`
	Resources   Resources    `json:"resources,omitzero"`
}

// Rules returns the app's rules.
func (a App) Rules() Rules {
	return Rules{Require: a.Require, Prefer: a.Prefer, OnNodes: a.OnNodes, WithApp: a.WithApp, AwayFromApp: a.AwayFromApp, SpreadOver: a.SpreadOver, Resources: a.Resources}
}

// WithRules returns the app with other rules.
func (a App) WithRules(r Rules) App {
	a.Require, a.Prefer, a.OnNodes, a.WithApp, a.AwayFromApp, a.SpreadOver, a.Resources = r.Require, r.Prefer, r.OnNodes, r.WithApp, r.AwayFromApp, r.SpreadOver, r.Resources
	return a
}
