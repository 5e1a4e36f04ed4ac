package shim;

import java.util.Map;
import org.elasticsearch.index.mapper.KeywordFieldMapper;
import org.elasticsearch.index.mapper.Mapper;
import org.elasticsearch.index.mapper.TextFieldMapper;

/** Stand-ins by name: match_only_text is text; wildcard and constant_keyword are keyword. */
final class FieldTypes {

    private FieldTypes() {}

    static Map<String, Mapper.TypeParser> parsers() {
        return Map.of(
            "match_only_text", TextFieldMapper.PARSER,
            "wildcard", KeywordFieldMapper.PARSER,
            "constant_keyword", (name, node, context) -> {
                node.remove("value");
                return KeywordFieldMapper.PARSER.parse(name, node, context);
            });
    }
}
