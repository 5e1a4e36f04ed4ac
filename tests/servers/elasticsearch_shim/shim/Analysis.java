package shim;

import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.AnalysisPlugin;

/** The three pieces of analysis-common that the mapping of .security names. */
final class Analysis {

    private Analysis() {}

    static Map<String, AnalysisProvider<TokenFilterFactory>> tokenFilters() {
        return Map.of(
            "unique", (index, environment, name, settings) ->
                filter(name, RemoveDuplicatesTokenFilter::new),
            "pattern_capture", AnalysisPlugin.requiresAnalysisSettings(
                (index, environment, name, settings) -> patternCapture(name, settings)));
    }

    static Map<String, AnalysisProvider<TokenizerFactory>> tokenizers() {
        return Map.of("uax_url_email", (index, environment, name, settings) ->
            TokenizerFactory.newFactory(name, UAX29URLEmailTokenizer::new));
    }

    private static TokenFilterFactory patternCapture(String name, Settings settings) {
        var keepsOriginal = settings.getAsBoolean("preserve_original", true);
        var patterns = settings.getAsList("patterns").stream()
            .map(Pattern::compile).toArray(Pattern[]::new);
        return filter(name, tokens ->
            new PatternCaptureGroupTokenFilter(tokens, keepsOriginal, patterns));
    }

    private static TokenFilterFactory filter(String name, UnaryOperator<TokenStream> made) {
        return new TokenFilterFactory() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public TokenStream create(TokenStream tokens) {
                return made.apply(tokens);
            }
        };
    }
}
