package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// node is an element of an XML document with its attributes, its children and its text.
type node struct {
	name  string
	attrs map[string]string
	kids  []*node
	text  string
}

// readXML reads a document strictly: what is not well-formed, or has more than one element, is an error.
func readXML(data []byte) (*node, error) {
	top := &node{}
	stack := []*node{top}
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		last := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				if _, twice := n.attrs[a.Name.Local]; twice {
					return nil, fmt.Errorf("%s: %s stands there twice", n.name, a.Name.Local)
				}
				n.attrs[a.Name.Local] = a.Value
			}
			last.kids = append(last.kids, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			last.text += string(token)
		}
	}
	if len(top.kids) != 1 {
		return nil, fmt.Errorf("%d elements at the top", len(top.kids))
	}
	return top.kids[0], nil
}

// xsd validates against a schema with the constructs that the JUnit schema is made of. One that it does not know is an error,
// not a pass.
type xsd struct{ elements, types map[string]*node }

func loadXSD(t *testing.T, path string) *xsd {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root, err := readXML(data)
	if err != nil || root.name != "schema" {
		t.Fatalf("%s: %v", path, err)
	}
	x := &xsd{map[string]*node{}, map[string]*node{}}
	for _, k := range root.kids {
		switch k.name {
		case "element":
			x.elements[k.attrs["name"]] = k
		case "complexType", "simpleType":
			x.types[k.attrs["name"]] = k
		case "annotation":
		default:
			t.Fatalf("%s: %s is not known here", path, k.name)
		}
	}
	return x
}

func (x *xsd) validate(document *node) error {
	declared, ok := x.elements[document.name]
	if !ok {
		return fmt.Errorf("no element %s may stand at the top", document.name)
	}
	return x.element(declared, document)
}

// element checks a document's element against its declaration.
func (x *xsd) element(declared, n *node) error {
	kind := x.types[declared.attrs["type"]]
	for _, k := range declared.kids {
		if k.name != "annotation" {
			kind = k
		}
	}
	if kind == nil {
		return fmt.Errorf("%s has no type that is known here", n.name)
	}
	if kind.name == "simpleType" {
		if len(n.kids) > 0 || len(n.attrs) > 0 {
			return fmt.Errorf("%s holds more than text", n.name)
		}
		return x.simple(kind, n.text)
	}
	c := content{attrs: map[string]*node{}}
	if err := x.complex(kind, &c); err != nil {
		return err
	}
	if !c.text && strings.TrimSpace(n.text) != "" {
		return fmt.Errorf("%s holds the text %q", n.name, n.text)
	}
	if err := x.attributes(&c, n); err != nil {
		return err
	}
	rest := n.kids
	for _, group := range c.groups {
		var err error
		if rest, err = x.group(group, rest); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s: %s is too much", n.name, rest[0].name)
	}
	return nil
}

// content is what a complex type allows.
type content struct {
	attrs  map[string]*node
	groups []*node
	text   bool
}

func (x *xsd) complex(kind *node, c *content) error {
	for _, k := range kind.kids {
		switch k.name {
		case "annotation":
		case "sequence", "choice":
			c.groups = append(c.groups, k)
		case "attribute":
			c.attrs[k.attrs["name"]] = k
		case "simpleContent", "complexContent", "extension":
			c.text = c.text || k.name == "simpleContent"
			if base := x.types[k.attrs["base"]]; base != nil && base.name == "complexType" {
				if err := x.complex(base, c); err != nil {
					return err
				}
			}
			if err := x.complex(k, c); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is not known here", k.name)
		}
	}
	return nil
}

func (x *xsd) attributes(c *content, n *node) error {
	for name, value := range n.attrs {
		declared, ok := c.attrs[name]
		if !ok {
			return fmt.Errorf("%s has no attribute %s", n.name, name)
		}
		err := x.value(declared.attrs["type"], value)
		for _, k := range declared.kids {
			if k.name == "simpleType" {
				err = x.simple(k, value)
			}
		}
		if err != nil {
			return fmt.Errorf("%s/@%s: %w", n.name, name, err)
		}
	}
	for name, declared := range c.attrs {
		if _, ok := n.attrs[name]; !ok && declared.attrs["use"] == "required" {
			return fmt.Errorf("%s lacks %s", n.name, name)
		}
	}
	return nil
}

// group takes the elements that a sequence or choice allows from the front of list.
func (x *xsd) group(group *node, list []*node) ([]*node, error) {
	any := false
	for _, declared := range group.kids {
		taken := 0
		for len(list) > 0 && list[0].name == declared.attrs["name"] && (declared.attrs["maxOccurs"] == "unbounded" || taken < 1) {
			if err := x.element(declared, list[0]); err != nil {
				return nil, err
			}
			list, taken = list[1:], taken+1
		}
		if group.name == "choice" && taken > 0 {
			return list, nil
		}
		any = any || taken > 0
		if group.name == "sequence" && taken == 0 && declared.attrs["minOccurs"] != "0" {
			return nil, fmt.Errorf("%s is missing", declared.attrs["name"])
		}
	}
	if group.name == "choice" && !any && group.attrs["minOccurs"] != "0" {
		return nil, errors.New("nothing of a choice is there")
	}
	return list, nil
}

// simple checks a text against the restrictions of a simple type.
func (x *xsd) simple(kind *node, value string) error {
	for _, restriction := range kind.kids {
		if restriction.name != "restriction" {
			continue
		}
		if err := x.value(restriction.attrs["base"], value); err != nil {
			return err
		}
		for _, facet := range restriction.kids {
			switch want := facet.attrs["value"]; facet.name {
			case "pattern":
				if !regexp.MustCompile("^(?:" + want + ")$").MatchString(value) {
					return fmt.Errorf("%q is not %s", value, want)
				}
			case "minLength":
				if n, _ := strconv.Atoi(want); len(strings.TrimSpace(value)) < n {
					return fmt.Errorf("%q is shorter than %d", value, n)
				}
			case "whiteSpace":
			default:
				return fmt.Errorf("%s is not known here", facet.name)
			}
		}
	}
	return nil
}

func (x *xsd) value(kind, value string) error {
	var err error
	switch strings.TrimPrefix(kind, "xs:") {
	case "", "string":
	case "token":
		if strings.Join(strings.Fields(value), " ") != value && strings.ContainsAny(value, "\n\r\t") {
			err = errors.New("it holds a tab or a line break")
		}
	case "int":
		_, err = strconv.ParseInt(value, 10, 32)
	case "decimal":
		if !regexp.MustCompile(`^[+-]?(\d+(\.\d*)?|\.\d+)$`).MatchString(value) {
			err = errors.New("it is no decimal")
		}
	case "dateTime":
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`).MatchString(value) {
			err = errors.New("it is no date with time")
		}
	default:
		named, ok := x.types[kind]
		if !ok {
			return fmt.Errorf("the type %s is not known here", kind)
		}
		return x.simple(named, value)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", value, err)
	}
	return nil
}

// TestXSD breaks a valid document in each way that a validator must notice.
func TestXSD(t *testing.T) {
	x := loadXSD(t, junitXSD(t))
	data, err := Render(reports["hostile"], JUnit, made)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readXML(data); err != nil || x.validate(n) != nil {
		t.Fatalf("the document itself: %v", err)
	}
	broken := [][2]string{
		{"<testsuites>", "<testsuites name=\"x\">"}, {"</testsuites>", "</suites>"}, {"</testsuites>", "</testsuites><more/>"}, {` hostname="localhost"`, ""}, {` time="0"`, ` time="soon"`}, {` id="0"`, ` id="x"`}, {` id="0"`, ` id="0" more="x"`},
		{"<properties>", "text<properties>"}, {"<system-err></system-err>", ""}, {"<system-err></system-err>", "<system-err></system-err><more/>"},
		{`timestamp="2026-11-22T12:00:00"`, `timestamp="2026-11-22T12:00:00Z"`}, {` hostname="localhost"`, ` hostname=""`}, {` type="TYPE_MISSING"`, ""},
		{"<system-err></system-err>", "<system-err><b/></system-err>"}, {`<properties>`, `<testcase name="a" classname="b" time="0"/><properties>`},
	}
	for _, b := range broken {
		text := strings.Replace(string(data), b[0], b[1], 1)
		if text == string(data) {
			t.Fatalf("%q is not in the document", b[0])
		}
		if n, err := readXML([]byte(text)); err == nil && x.validate(n) == nil {
			t.Errorf("%q for %q still passes", b[1], b[0])
		}
	}
}
